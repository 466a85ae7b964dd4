"""Logits of an exported network in PyTorch beside those of the runtime, on the same photos.

    pip install torch safetensors pillow numpy
    python tools/compare_with_torch.py FEC_TORCH RUN/best.safetensors RUN/model.fec PHOTO...

FEC_TORCH is the network in PyTorch (fec_torch.py). Photos must have the model's own input size, so that nothing is resized. The
program `fec` is taken from the path or from the environment's FEC. Exit status 1 when a logit is off by more than 1e-4.
"""
import argparse, importlib.util, json, os, struct, subprocess, sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file


def network(path, preset, classes, locality):
    spec = importlib.util.spec_from_file_location("fec_torch", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fec_torch"] = module
    spec.loader.exec_module(module)
    config = module.replace(module.variant(preset), classes=classes)
    model = module.Fec(config).eval()
    for pool, value in zip([model.network[i] for i in (1, 3, 5)], locality):
        pool.locality = value
    return model


def metadata(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)).get("__metadata__", {})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fec_torch")
    parser.add_argument("weights")
    parser.add_argument("model")
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--mean", default="0.485,0.456,0.406")
    parser.add_argument("--std", default="0.229,0.224,0.225")
    a = parser.parse_args()
    about = metadata(a.weights)
    weights = load_file(a.weights)
    classes = weights["head.weight"].shape[0]
    locality = [float(v) for v in about.get("locality", "0,0,0").split(",")]
    model = network(a.fec_torch, a.preset, classes, locality)
    # Every name and every shape must fit.
    model.load_state_dict(weights, strict=True)
    mean, std = (torch.tensor([float(v) for v in text.split(",")]).reshape(3, 1, 1) for text in (a.mean, a.std))
    images = []
    for photo in a.photos:
        pixels = np.asarray(Image.open(photo).convert("RGB")).copy()
        side = int(about.get("input-size", pixels.shape[0]))
        if pixels.shape[:2] != (side, side):
            parser.error(f"{photo} has {pixels.shape[1]}x{pixels.shape[0]} pixels, the model takes {side}x{side}; resize it first")
        images.append((torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - mean) / std)
    command = [os.environ.get("FEC", "fec"), "classify", "--json", "--logits", "-m", a.model, *a.photos]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    worst = 0.0
    for image, line in zip(images, lines, strict=True):
        with torch.no_grad():
            expected = model(image[None])[0].numpy()
        worst = max(worst, float(np.abs(expected - np.array(json.loads(line)["logits"])).max()))
    print(f"{len(a.photos)} photos, {len(weights)} tensors, {classes} classes, locality {locality}: largest difference of a logit {worst:.2g}")
    return worst > 1e-4


if __name__ == "__main__":
    sys.exit(main())
