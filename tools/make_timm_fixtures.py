"""Expected values of augmentations and learning rates, computed once by timm and Pillow for fec-train/tests/fixtures.

    pip install timm pillow torch torchvision        # timm 1.0.31, Pillow 13.0.0
    python tools/make_timm_fixtures.py samples/astronaut.jpg fec-train/tests/fixtures

Writes timm.png (the source photo and every result below each other, each in a row of its own) and timm.json (what was done to
get each, and all values that are no pictures).
"""

import json
import math
import random
import sys

import numpy as np
import torch
from PIL import Image, ImageOps
from timm.data import auto_augment as aa
from timm.data import mixup, random_erasing, transforms
from timm.scheduler import create_scheduler_v2
from torchvision.transforms import functional as F

WIDTH, HEIGHT = 36, 30
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
FILL = (124, 116, 104)


def operations(photo):
    """Each operation of RandAugment with explicit parameters: name, parameter, resampling, result."""
    for factor in (0.1, 0.55, 1.0, 1.3, 1.9):
        yield "Color", factor, None, aa.color(photo, factor)
        yield "Contrast", factor, None, aa.contrast(photo, factor)
        yield "Brightness", factor, None, aa.brightness(photo, factor)
        yield "Sharpness", factor, None, aa.sharpness(photo, factor)
    yield "AutoContrast", 0, None, aa.auto_contrast(photo)
    yield "Equalize", 0, None, aa.equalize(photo)
    yield "Invert", 0, None, aa.invert(photo)
    for bits in (1, 4, 8):
        yield "Posterize", bits, None, aa.posterize(photo, bits)
    for threshold in (0, 26, 200, 256):
        yield "Solarize", threshold, None, aa.solarize(photo, threshold)
    for add in (0, 55, 110):
        yield "SolarizeAdd", add, None, aa.solarize_add(photo, add)
    for radius in (0.1, 0.7, 2.0):
        yield "GaussianBlur", radius, None, aa.gaussian_blur(photo, radius)
    for name, resample in (("bilinear", BILINEAR), ("bicubic", BICUBIC)):
        kwargs = lambda: dict(resample=resample, fillcolor=FILL)
        for degrees in (-30.0, -7.3, 0.0, 11.0, 27.0):
            yield "Rotate", degrees, name, aa.rotate(photo, degrees, **kwargs())
        for factor in (-0.3, 0.07, 0.27):
            yield "ShearX", factor, name, aa.shear_x(photo, factor, **kwargs())
            yield "ShearY", factor, name, aa.shear_y(photo, factor, **kwargs())
        for share in (-0.45, 0.125, 0.4):
            yield "TranslateX", share, name, aa.translate_x_rel(photo, share, **kwargs())
            yield "TranslateY", share, name, aa.translate_y_rel(photo, share, **kwargs())


def crops(photo):
    """Resized crops: region (top, left, height, width), resampling, result of 24 x 24 or 40 x 40."""
    for region in ((0, 0, 30, 36), (3, 5, 20, 17), (0, 30, 7, 5), (25, 0, 5, 36), (2, 2, 24, 24)):
        for name, resample in (("bilinear", F.InterpolationMode.BILINEAR), ("bicubic", F.InterpolationMode.BICUBIC)):
            for side in (24, 40):
                yield region, name, side, F.resized_crop(photo, *region, (side, side), resample)


def pictures(photo):
    rows, images = [], [photo]
    for name, value, resample, image in operations(photo):
        rows.append(dict(kind="operation", name=name, value=value, resample=resample))
        images.append(image)
    for region, resample, side, image in crops(photo):
        rows.append(dict(kind="crop", region=region, resample=resample, side=side))
        images.append(image)
    rows.append(dict(kind="hflip"))
    images.append(ImageOps.mirror(photo))
    rows.append(dict(kind="vflip"))
    images.append(ImageOps.flip(photo))
    for pad, top, left in ((4, 0, 0), (4, 3, 8), (12, 24, 1)):
        padded = F.pad(photo, [pad] * 4, padding_mode="reflect")
        rows.append(dict(kind="padded", top=top - pad, left=left - pad))
        images.append(F.crop(padded, top, left, HEIGHT, WIDTH))
    top = 0
    for row, image in zip([dict(kind="source")] + rows, images):
        row.update(at=top, height=image.height, width=image.width)
        top += image.height
    sheet = Image.new("RGB", (max(i.width for i in images), top))
    for row, image in zip([dict(at=0)] + rows, images):
        sheet.paste(image, (0, row["at"]))
    return sheet, rows


def levels():
    """What each operation's level becomes, both signs: name, level, arguments."""
    out = []
    names = sorted(set(aa._RAND_TRANSFORMS + aa._RAND_INCREASING_TRANSFORMS + aa._RAND_3A))
    for name in names:
        function = aa.LEVEL_TO_ARG[name]
        for level in (0.0, 0.4, 3.3, 7.0, 9.0, 9.7, 10.0):
            for negate in (False, True):
                aa._randomly_negate = lambda v: -v if negate else v
                arguments = list(function(level, dict(translate_const=100))) if function else []
                out.append(dict(name=name, level=level, negate=negate, arguments=arguments))
    return out


def sets():
    parsed = lambda text: aa.rand_augment_transform(text, dict(img_mean=FILL))
    out = {}
    for text in ("rand-m9-mstd0.5-inc1", "rand-m7-n3-p0.75-mmax12", "rand-mstd1-tweights", "rand-m5-mstd101-t3a"):
        transform = parsed(text)
        op = transform.ops[0]
        std = op.magnitude_std
        out[text] = dict(
            ops=[o.name for o in transform.ops],
            layers=transform.num_layers,
            weights=None if transform.choice_weights is None else list(transform.choice_weights),
            magnitude=op.magnitude,
            std="inf" if math.isinf(std) else std,
            max=op.magnitude_max or 10,
            probability=op.prob,
        )
    return out


def mixes():
    """Batches of 3-channel images through timm's Mixup with explicit parameters; images are listed [B, H, W, 3]."""
    size, classes, labels = (6, 8), 5, [0, 3, 3, 1]
    generator = np.random.default_rng(1)
    images = generator.integers(-20, 21, (4, *size, 3)).astype(np.float32) / 8
    out = []
    for cut, lam, centre in ((False, 0.3, None), (False, 1.0, None), (True, 0.4, (3, 4)), (True, 0.75, (0, 7)), (True, 0.05, (5, 1)), (True, 0.999, (2, 2))):
        mix = mixup.Mixup(0.8, 1.0, label_smoothing=0.1, num_classes=classes)
        mix._params_per_batch = lambda: (lam, cut)
        if centre:
            draws = iter(centre)
            mixup.np.random.randint = lambda *_, **__: np.int64(next(draws))
        x = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).contiguous()
        mixed, target = mix(x, torch.tensor(labels))
        out.append(dict(
            cut=cut, lam=lam, centre=centre,
            images=mixed.permute(0, 2, 3, 1).flatten().tolist(), targets=target.flatten().tolist(),
        ))
    return dict(height=size[0], width=size[1], classes=classes, labels=labels, images=images.flatten().tolist(), cases=out)


def schedules():
    """Learning rates by epoch or by update, as timm's training script asks for them."""
    out = []
    base = dict(lr=1e-3, min_lr=1e-6, warmup_lr=1e-6, epochs=10, warmup_epochs=2, cooldown_epochs=0, warmup_prefix=False, updates=None)
    for change in (
        {}, dict(cooldown_epochs=3), dict(warmup_prefix=True, cooldown_epochs=1), dict(warmup_epochs=0, min_lr=0.0),
        dict(updates=7), dict(updates=7, warmup_prefix=True, cooldown_epochs=2), dict(updates=1, epochs=3, warmup_epochs=5),
    ):
        case = dict(base, **change)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=case["lr"])
        scheduler, epochs = create_scheduler_v2(
            optimizer, sched="cosine", num_epochs=case["epochs"], cooldown_epochs=case["cooldown_epochs"], min_lr=case["min_lr"],
            warmup_lr=case["warmup_lr"], warmup_epochs=case["warmup_epochs"], warmup_prefix=case["warmup_prefix"],
            step_on_epochs=case["updates"] is None, updates_per_epoch=case["updates"] or 0,
        )
        rate = lambda: optimizer.param_groups[0]["lr"]
        rates = [rate()]
        for t in range(1, epochs * (case["updates"] or 1)):
            scheduler.step(t) if case["updates"] is None else scheduler.step_update(t)
            rates.append(rate())
        out.append(dict(case, total_epochs=epochs, rates=rates))
    return out


def distributions():
    """Means over many of timm's own draws."""
    random.seed(1)
    draws = 200_000
    out = {}
    for name, size, scale, ratio in (("square", (64, 64), (0.08, 1.0), (3 / 4, 4 / 3)), ("wide", (90, 30), (0.35, 1.0), (3 / 4, 4 / 3))):
        image = Image.new("L", size)
        get = transforms.RandomResizedCropAndInterpolation.get_params
        values = np.array([get(image, scale, ratio) for _ in range(draws)], dtype=float)
        means = dict(zip(("top", "left", "height", "width"), values.mean(0).tolist()))
        out[name] = dict(size=size, scale=scale, ratio=ratio, area=float((values[:, 2] * values[:, 3]).mean()), **means)
    erasing = random_erasing.RandomErasing(0.25, mode="const", max_count=1, device="cpu")
    erased = []
    for _ in range(40_000):
        image = torch.ones(1, 64, 64)
        erasing(image)
        erased.append(float((image == 0).float().mean()))
    erased = np.array(erased)
    out["erasing"] = dict(images=float((erased > 0).mean()), share=float(erased[erased > 0].mean()))
    return out


def main(source, folder):
    photo = Image.open(source).convert("RGB")
    side = 8 * WIDTH
    left, top = photo.width * 2 // 7, photo.height // 20
    photo = photo.crop((left, top, left + side, top + 8 * HEIGHT)).resize((WIDTH, HEIGHT), BICUBIC)
    sheet, rows = pictures(photo)
    sheet.save(f"{folder}/timm.png", optimize=True)
    values = dict(width=WIDTH, height=HEIGHT, fill=FILL, distributions=distributions(), pictures=rows, mixes=mixes(), schedules=schedules(), sets=sets(), levels=levels())
    lines = []
    for key, value in values.items():
        if isinstance(value, list) and key not in ("fill",):
            inner = ",\n".join("  " + json.dumps(v) for v in value)
            lines.append(f"{json.dumps(key)}: [\n{inner}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    with open(f"{folder}/timm.json", "w") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
