#!/usr/bin/env python3
"""Our engine, ONNX Runtime, OpenVINO and PyTorch on the same network, in turns, on one core with one thread.

    python3 benches/peers.py --network fec_torch.py --save

The network is FEC in PyTorch with formula weights, from a file that defines `Fec`, `variant`, `formula_weights` and `formula_image`. Engines
take it as published and as reformulated.py states it. An engine that cannot be imported is named as missing. Every candidate's logits are
compared with PyTorch's before it is timed. README.md says what the record holds and what pip must have installed.
"""
import argparse
import contextlib
import datetime
import importlib.util
import json
import os
import platform
import re
import resource
import shutil
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WARM_UP = 5
# Images that int8 engines, ours included, calibrate on; none is the one that is timed.
CALIBRATION = range(1, 9)
# Largest difference of a logit: f32 engines may sum in another order; the others lose digits, and a centre may be chosen otherwise.
TOLERANCE = {"f32": 1e-3, "f16": 0.3, "bf16": 0.3, "i8": 0.5}


@dataclass
class Candidate:
    """What takes turns: `times(n)` runs it n times and gives milliseconds on the wall and on the core."""
    engine: str
    graph: str
    dtype: str
    logits: object
    times: object
    isa: str | None = None
    extra: dict = field(default_factory=dict)
    wall: list = field(default_factory=list)
    core: list = field(default_factory=list)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", type=Path, required=True, help="file that defines the network in PyTorch")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--dtypes", default="f32,i8", help="types to compare")
    parser.add_argument("--graphs", default="published,reformulated", help="forms of the network")
    parser.add_argument("--engines", default="fec,onnxruntime,openvino,torch", help="engines to try")
    parser.add_argument("--torch", default="eager,compile,max-autotune", help="ways of PyTorch to try; the last takes minutes the first time")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=6, help="runs of every candidate in a round")
    parser.add_argument("--core", type=int, help="core to run on; the last by default")
    parser.add_argument("--bin", type=Path, default=HERE.parent / "target/release", help="folder of fec and fec-convert")
    parser.add_argument("--work", type=Path, default=HERE.parent / "out/peers", help="folder for graphs and models, kept for the next time")
    parser.add_argument("--save", action="store_true", help="write a record into benches/record")
    return parser.parse_args()


def run_json(command):
    """The last line of a command's output, as JSON."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_png(path, pixels):
    """pixels: uint8 [H, W, 3]"""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Inputs:
    """The network, its images, and its graphs as files."""

    def __init__(self, args):
        import numpy as np
        import torch
        sys.path.insert(0, str(HERE))
        torch.set_num_threads(1)
        self.np, self.torch, self.args = np, torch, args
        spec = importlib.util.spec_from_file_location("network", args.network)
        self.network = importlib.util.module_from_spec(spec)
        sys.modules["network"] = self.network
        spec.loader.exec_module(self.network)
        self.model = self.network.Fec(self.network.variant(args.preset)).eval()
        self.network.formula_weights(self.model)
        args.work.mkdir(parents=True, exist_ok=True)
        self.photo = args.work / f"image_{args.size}.png"
        write_png(self.photo, self.pixels(0))
        self.folder = args.work / f"calibration_{args.size}" / "all"
        self.folder.mkdir(parents=True, exist_ok=True)
        for index in CALIBRATION:
            write_png(self.folder / f"{index}.png", self.pixels(index))
        self.image = self.normalised(0)
        with torch.no_grad():
            self.expected = self.model(torch.from_numpy(self.image))[0].numpy()

    def pixels(self, index):
        """The formula image as a photo, uint8 [H, W, 3]: what our engine decodes."""
        np, size = self.np, self.args.size
        values = self.network.formula_image(size, size, index=index).numpy().transpose(1, 2, 0)
        photo = (values * np.array(STD) + np.array(MEAN)) * 255
        return np.clip(np.rint(photo), 0, 255).astype(np.uint8)

    def normalised(self, index):
        """The same as f32 [1, 3, H, W]: what the others take."""
        np = self.np
        values = self.pixels(index).astype(np.float32) / np.float32(255)
        values = (values - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])

    def module(self, graph):
        if graph == "published":
            return self.model
        from reformulated import Reformulated
        return Reformulated(self.model, self.args.size, self.args.size).eval()

    def onnx(self, graph):
        """Path of a form's ONNX graph, exported the first time."""
        path = self.args.work / f"{self.args.preset}_{self.args.size}_{graph}.onnx"
        if not path.exists():
            image = self.torch.from_numpy(self.image)
            partial = path.with_suffix(".partial")
            self.torch.onnx.export(self.module(graph), (image,), str(partial), dynamo=True, external_data=False, opset_version=18,
                                   input_names=["image"], output_names=["logits"], verbose=False)
            partial.rename(path)
        return path


def in_process(call):
    """Times of something that runs in this process."""
    def times(runs):
        wall, core = [], []
        for _ in range(runs):
            started, core_started = time.perf_counter(), time.process_time()
            call()
            wall.append((time.perf_counter() - started) * 1e3)
            core.append((time.process_time() - core_started) * 1e3)
        return wall, core
    return times


# Each engine: a generator of candidates, one at a time, so that one that fails does not take the others along.

def fec(inputs, graph, dtype):
    if graph != "published":
        return
    args = inputs.args
    binary, convert = args.bin / "fec", args.bin / "fec-convert"
    model = args.work / f"fec_{args.preset}_{args.size}_{dtype}.fec"
    calibration = ["--calib", inputs.folder.parent] if dtype == "i8" else []
    run_json([convert, "pack", f"formula:{args.preset}", "-o", model, "--dtype", dtype, "--input-size", args.size, "--crop-pct", 1, "--json", *calibration])
    found = run_json([binary, "classify", inputs.photo, "--model", model, "--logits", "--json"])
    report = run_json([binary, "bench", "--model", model, "--runs", 1, "--json"])

    def times(runs):
        started = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        result = run_json([binary, "bench", "--model", model, "--runs", runs, "--json"])
        elapsed = time.perf_counter() - begun
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime
        wall = [result["ms"]["min"], result["ms"]["median"]]
        # The command tells its time on the wall alone; how busy the core was with all of it tells of disturbances.
        return wall, [ms * min(busy / elapsed, 1) for ms in wall]

    kept = ("multiply_adds", "arena_bytes", "output_crc", "clock_ghz", "share_of_peak")
    extra = {key: report[key] for key in kept if key in report}
    yield Candidate("fec", graph, dtype, inputs.np.array(found["logits"]), times, report["isa"], extra)


def onnxruntime(inputs, graph, dtype):
    import onnxruntime as ort
    path = inputs.onnx(graph)
    if dtype == "i8":
        path = ort_quantised(inputs, path)
    elif dtype != "f32":
        return
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    def call():
        return session.run(None, {"image": inputs.image})[0]
    yield Candidate(f"onnxruntime {ort.__version__}", graph, dtype, call()[0], in_process(call))


def ort_quantised(inputs, path):
    """Static, u8 activations and s8 weights per channel: the fastest form that ONNX Runtime's own tool makes."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    quantised = path.with_name(path.stem + "_i8_ort.onnx")
    if quantised.exists():
        return quantised

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.images = iter([{"image": inputs.normalised(i)} for i in CALIBRATION])

        def get_next(self):
            return next(self.images, None)

    prepared, partial = path.with_name(path.stem + "_prepared.onnx"), quantised.with_suffix(".partial")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(partial), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    op_types_to_quantize=["Conv", "MatMul", "Gemm"], activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    partial.rename(quantised)
    return quantised


def openvino(inputs, graph, dtype):
    import openvino as ov
    core = ov.Core()
    model = core.read_model(str(inputs.onnx(graph)))
    version = f"openvino {ov.__version__.split('-')[0]}"
    if dtype == "i8":
        import nncf
        version += f", nncf {nncf.__version__}"
        images = nncf.Dataset([inputs.normalised(i) for i in CALIBRATION])
        model = nncf.quantize(model, images, subset_size=len(CALIBRATION), preset=nncf.QuantizationPreset.MIXED)
    hint = {"f32": "f32", "i8": "f32", "bf16": "bf16"}.get(dtype)
    if hint is None:
        return
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint, "ENABLE_CPU_PINNING": False, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    def call():
        return request.infer([inputs.image])[compiled.outputs[0]]
    yield Candidate(version, graph, dtype, call()[0].copy(), in_process(call))


def torch(inputs, graph, dtype):
    if dtype != "f32":
        return
    torch = inputs.torch
    import torch._inductor.config as inductor
    image, module = torch.from_numpy(inputs.image), inputs.module(graph)
    inductor.compile_threads = 1
    for name in inputs.args.torch.split(","):
        inductor.freezing = name == "max-autotune"
        torch._dynamo.reset()
        run = module if name == "eager" else torch.compile(module, mode="default" if name == "compile" else name)
        def call(run=run):
            with torch.no_grad():
                return run(image)
        try:
            logits = call()[0].numpy().copy()
        except Exception as error:
            print(f"FAILED: torch {name}, {graph}: {one_line(error)}", flush=True)
            continue
        yield Candidate(f"torch {torch.__version__.split('+')[0]} {name}", graph, dtype, logits, in_process(call))


ENGINES = {"fec": fec, "onnxruntime": onnxruntime, "openvino": openvino, "torch": torch}


@contextlib.contextmanager
def chatter_to(path):
    """What engines say on stderr while they prepare goes to a file."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("w") as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def candidates(inputs):
    """All that can be made; the others are named, with the reason."""
    args, found = inputs.args, []
    for name in args.engines.split(","):
        if name not in ENGINES:
            sys.exit(f"--engines: {name!r} is not known; known are {', '.join(ENGINES)}")
        for dtype in args.dtypes.split(","):
            for graph in args.graphs.split(","):
                try:
                    for candidate in ENGINES[name](inputs, graph, dtype):
                        if agrees(inputs, candidate):
                            found.append(candidate)
                except ImportError as error:
                    print(f"MISSING: {name} ({error})", flush=True)
                except Exception as error:
                    print(f"FAILED: {name}, {graph}, {dtype}: {one_line(error)}", flush=True)
    return found


def agrees(inputs, candidate):
    """Compares with PyTorch's f32 logits; who computes something else is not timed."""
    np, expected, logits = inputs.np, inputs.expected, candidate.logits
    difference = float(np.abs(logits - expected).max()) if logits.shape == expected.shape else float("inf")
    candidate.extra["logit_difference"] = difference
    right = difference <= TOLERANCE[candidate.dtype]
    same = "same class" if logits.argmax() == expected.argmax() else "ANOTHER CLASS"
    verdict = "" if right else "  WRONG, left out"
    print(f"{candidate.engine:44} {candidate.graph:13} {candidate.dtype:5} logits within {difference:.1e}, {same}{verdict}", flush=True)
    return right


def summary(times):
    times = sorted(times)
    at = lambda share: times[round((len(times) - 1) * share)]
    return {"min": at(0), "median": at(0.5), "p95": at(0.95)}


def row(args, candidate):
    return {"engine": candidate.engine, "model": f"{args.preset}, {candidate.graph}", "height": args.size, "width": args.size,
            "dtype": candidate.dtype, **({"isa": candidate.isa} if candidate.isa else {}), "threads": 1, "runs": args.rounds * args.runs,
            "ms": summary(candidate.wall), "cpu_ms": summary(candidate.core), **candidate.extra}


def report(args, rows):
    for entry in sorted(rows, key=lambda r: (r["dtype"], r["ms"]["min"])):
        wall, core = entry["ms"], entry["cpu_ms"]
        print(f"{entry['dtype']:5} {entry['engine']:44} {entry['model']:22} min {wall['min']:8.2f} ms, median {wall['median']:8.2f} (core: {core['min']:8.2f}, {core['median']:8.2f})")
        if wall["median"] > 1.01 * core["median"]:
            print("      the core was not quiet: not a figure for publication")
    for ours in (r for r in rows if r["engine"] == "fec"):
        for graph in args.graphs.split(","):
            others = [r for r in rows if r["engine"] != "fec" and r["dtype"] == ours["dtype"] and r["model"].endswith(graph)]
            if others:
                best = min(others, key=lambda r: r["ms"]["min"])
                print(f"{ours['dtype']}, {graph}: fec is {best['ms']['min'] / ours['ms']['min']:.2f} times as fast as {best['engine']} (medians {best['ms']['median'] / ours['ms']['median']:.2f})")


def cpu_model():
    """As benches/src/machine.rs names it."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    value = lambda name: (re.search(rf"^{name}\s*:\s*(.+)$", info, re.M) or [None, None])[1]
    if name := value("model name"):
        parts = [f"{key} {value(key)}" for key in ("cpu family", "model", "stepping") if value(key)]
        return name if any(c.isdigit() for c in name) else " ".join([name, *parts])
    parts = [f"{key} {value(key)}" for key in ("CPU implementer", "CPU part", "CPU variant") if value(key)]
    return " ".join([platform.machine(), *parts])


def save(args, core, rows):
    def git(*words):
        done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None
    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    options = [word for word in sys.argv[1:] if word != "--save"]
    names = [Path(word).name if "/" in word else word for word in options]
    clock = max((r.get("clock_ghz", 0) for r in rows), default=0)
    record = {"format": 1, "bench": "peers-py", "machine": cpu_model(), "core": core, "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
              "commit": commit + changed, "command": " ".join(["python3 benches/peers.py", *names]), "clock_ghz": clock or None, "peaks": [], "results": rows}
    words = re.findall(r"[a-z0-9]+", f"{record['machine']} {record['date']} peers py".lower())
    path = HERE / "record" / ("-".join(words) + ".json")
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n")
    partial.rename(path)
    print(path.name)


def main():
    args = arguments()
    core = args.core if args.core is not None else max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    # Read when the engines are loaded, which happens later.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    for name in ("fec", "fec-convert"):
        if not shutil.which(args.bin / name):
            sys.exit(f"{args.bin / name} is missing; build it with: cargo build --release -p {name}")
    try:
        inputs = Inputs(args)
    except ImportError as error:
        sys.exit(f"the network needs PyTorch and numpy: {error}")
    with chatter_to(args.work / "engines.log"):
        turns = candidates(inputs)
    for candidate in turns:
        candidate.times(WARM_UP)
    for _ in range(args.rounds):
        for candidate in turns:
            wall, busy = candidate.times(args.runs)
            candidate.wall += wall
            candidate.core += busy
    rows = [row(args, candidate) for candidate in turns]
    report(args, rows)
    if args.save:
        save(args, core, rows)


if __name__ == "__main__":
    main()
