"""The training step beside PyTorch: rounds in turn, so that all see the same machine.

    python step.py FEC_TORCH BINARY [--batch 128] [--side 64] [--preset nano] [--threads 1] [--rounds 5] [--steps 6] [--compile]

FEC_TORCH is the network in PyTorch (fec_torch.py), BINARY the example `step` in release. A step is forward, backward and AdamW.
Printed per round: the median milliseconds of each, and at the end the median of the rounds' ratios and both peaks of memory.
"""
import argparse, importlib.util, os, resource, statistics, subprocess, sys, time

import torch


def network(path, preset):
    spec = importlib.util.spec_from_file_location("fec_torch", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fec_torch"] = module
    spec.loader.exec_module(module)
    return module.Fec(module.variant(preset))


def stepper(model, run, batch, side):
    decaying = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decaying}, {"params": vectors, "weight_decay": 0.0}], lr=1e-3, weight_decay=0.05)
    images = torch.randn(batch, 3, side, side)
    targets = torch.full((batch, model.cfg.classes), 1.0 / model.cfg.classes)

    def step():
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(run(images), targets).backward()
        optimizer.step()
        return (time.perf_counter() - start) * 1e3

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fec_torch")
    parser.add_argument("binary")
    for name, default in [("batch", 128), ("side", 64), ("threads", 1), ("rounds", 5), ("steps", 6)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bf16", action="store_true", help="torch.compile under autocast to bf16 as well")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = network(a.fec_torch, a.preset)
    steps = {"eager": stepper(model, model, a.batch, a.side)}
    if a.compile:
        model = network(a.fec_torch, a.preset)
        steps["compile"] = stepper(model, torch.compile(model), a.batch, a.side)
    if a.bf16:
        half = network(a.fec_torch, a.preset)
        compiled = torch.compile(half)

        def run(images):
            with torch.autocast("cpu", torch.bfloat16):
                return compiled(images)

        steps["compile bf16"] = stepper(half, run, a.batch, a.side)
    for step in steps.values():
        step(), step()
    ratios = {name: [] for name in steps}
    peak = ""
    for _ in range(a.rounds):
        environment = dict(os.environ, RAYON_NUM_THREADS=str(a.threads))
        command = [a.binary, str(a.batch), str(a.steps + 2), a.preset, str(a.side)]
        lines = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split("\n")
        ours = statistics.median(float(line) for line in lines[2:a.steps + 2])
        peak = lines[a.steps + 2]
        line = f"ours {ours:.1f} ms"
        for name, step in steps.items():
            theirs = statistics.median(step() for _ in range(a.steps))
            ratios[name].append(theirs / ours)
            line += f", {name} {theirs:.1f} ms ({theirs / ours:.2f}x)"
        print(line, flush=True)
    for name, values in ratios.items():
        print(f"{name} / ours: median {statistics.median(values):.2f}, {min(values):.2f} to {max(values):.2f}")
    print(f"peak memory: ours {peak.split(':')[-1].strip()}, PyTorch {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} kB")


if __name__ == "__main__":
    main()
