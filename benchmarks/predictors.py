"""How fast a trained U-Net predicts windows, by every plan and runtime, and how close they stay.

A U-Net of 10 bands and 10 classes is trained for a few steps on simulated patches, so that classes
and calibration mean something. Then windows of unseen patches, with gaps, are predicted in turn,
several rounds; the median of the rounds counts. `model` is `Model.probabilities` with all cores on
one window at a time; all others have one window on each core. `difference` is the most that a
probability differs from the model's, `agreement` the share of pixels with the same class.

    python benchmarks/predictors.py [--window 256] [--windows 8] [--rounds 3] [--norm group]
        [--width 32] [--levels 4] [--steps 60] [--compile] [--only fp32,onnxruntime]

`--compile` takes a minute or two more. bf16 is emulated where the processor does not have it, and
then measured on few windows; the runtimes are measured where they are installed.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from earthloom.encoders import Statistics
from earthloom.encoders.unet import UNet
from earthloom.fit import Model
from earthloom.fit.budget import torch_peak
from earthloom.fit.export import FLOAT, INT8, export_model
from earthloom.fit.exported import agreement, load_exported
from earthloom.fit.flat import each_tensor
from earthloom.fit.model import Member
from earthloom.fit.plan import Plan
from earthloom.fit.predictor import Predicting, Predictor
from earthloom.fit.runtimes import installed
from earthloom.fit.trial import Wish, choose_plan, largest_difference
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import Batch, collate
from earthloom.tasks import PixelClasses
from earthloom.tasks.heads import ConvHead

BANDS, CLASSES = 10, 10
SPEC = LayerSpec(
    "simulated",
    10,
    tuple(f"b{n}" for n in range(BANDS)),
    "1",
    ("2023-07",),
    tuple(450.0 + 190.0 * n for n in range(BANDS)),
)
TASK = PixelClasses(
    tuple(range(1, CLASSES + 1)),
    tuple(f"class {n}" for n in range(1, CLASSES + 1)),
    ((128, 128, 128),) * CLASSES,
)
CORES = len(os.sched_getaffinity(0))


def patch(number: int, size: int) -> Chip:
    """Fields of ten classes whose spectra overlap, with noise and a cloud."""
    spectra = np.random.default_rng(0).uniform(0.05, 0.4, (CLASSES, BANDS))
    rng = np.random.default_rng([1, number])
    fields = gaussian_filter(rng.normal(size=(CLASSES, size, size)), (0, 8, 8))
    label = fields.argmax(axis=0)
    pixels = np.moveaxis(spectra[label], -1, 0)
    pixels = pixels + gaussian_filter(rng.normal(size=(size, size)), 16) * 0.5
    pixels = (pixels + rng.normal(0, 0.08, pixels.shape)).astype(np.float32)
    valid = gaussian_filter(rng.normal(size=(size, size)), 12) < 0.04
    pixels[:, ~valid] = np.nan
    layer = Layer(SPEC, pixels[None], valid[None], np.zeros(1, np.int32))
    shape = Shape2d(size, size)
    return Chip(f"{number}", shape, {SPEC.key: layer}, (label + 1).astype(np.uint8), f"{number}")


def trained(options: argparse.Namespace) -> Model:
    """A U-Net after a few steps on small patches, the same for the same options."""
    torch.manual_seed(0)
    pixels = patch(900, 96).layers[SPEC.key].pixels
    known = Statistics(
        tuple(np.nanmean(pixels, axis=(0, 2, 3)).tolist()),
        tuple(np.nanstd(pixels, axis=(0, 2, 3)).tolist()),
    )
    encoder = UNet((SPEC,), {SPEC.key: known}, options.width, options.levels, options.norm)
    head = ConvHead(encoder.channels, CLASSES)
    weights = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=2e-3)
    for step in range(options.steps):
        batch = collate([patch(1000 + 4 * step + n, 64) for n in range(4)])
        assert batch.label is not None
        loss = TASK.loss(head(encoder(batch).pixels), batch.label, torch.ones(CLASSES))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Model((Member(encoder.eval(), head.eval()),), TASK, None, {"steps": options.steps})


@dataclass
class Row:
    """One contender and what was measured of it."""

    name: str
    predict: Callable[[Batch], Tensor]
    batch: Batch
    truth: Tensor
    times: list[float]
    difference: float = 0.0
    agreement: float = 1.0

    def warm(self) -> None:
        """Once without being timed, for whatever is made at first use; and the comparison."""
        shares = self.predict(self.batch)
        self.difference = largest_difference(shares, self.truth)
        self.agreement = agreement(shares, self.truth)

    def run(self) -> None:
        start = time.perf_counter()
        self.predict(self.batch)
        self.times.append(time.perf_counter() - start)

    def figures(self) -> dict[str, float]:
        rates = [len(self.batch.ids) / seconds for seconds in self.times]
        rate = statistics.median(rates)
        pixels = self.truth.shape[-2] * self.truth.shape[-1]
        return {
            "windows_per_s": round(rate, 3),
            "spread": round((max(rates) - min(rates)) / rate, 3),
            "mpx_per_s": round(rate * pixels / 1e6, 4),
            "difference": self.difference,
            "agreement": round(self.agreement, 5),
        }


def contenders(
    model: Model, folder: Path, options: argparse.Namespace
) -> list[tuple[str, Callable[[], Predicting] | None]]:
    """Name, and what makes it; None for the model itself."""

    def by(plan: Plan) -> Callable[[], Predicting]:
        return lambda: Predictor(model, plan, CORES)

    listed: list[tuple[str, Callable[[], Predicting] | None]] = [
        ("model", None),
        ("fp32", by(Plan())),
        ("fp32 channels-last", by(Plan(channels_last=True))),
        ("bf16 channels-last", by(Plan(precision="bf16", channels_last=True))),
    ]
    if options.compile:
        listed.append(("fp32 compiled", by(Plan(compiled=True))))
        listed.append(("fp32 channels-last compiled", by(Plan(channels_last=True, compiled=True))))
    for file, numbers in ((FLOAT, "fp32"), (INT8, "int8")):
        for runtime in installed():
            path = folder / file
            listed.append(
                (f"{runtime} {numbers}", lambda p=path, r=runtime: load_exported(p, r, CORES))
            )
    wanted = options.only.split(",") if options.only else []
    return [
        (name, make)
        for name, make in listed
        if not wanted or name == "model" or any(each in name for each in wanted)
    ]


def one_by_one(model: Model, batch: Batch) -> Tensor:
    """The model itself on one window after the other."""
    windows = range(len(batch.ids))
    return torch.cat(
        [model.probabilities(each_tensor(batch, lambda t, n=n: t[n : n + 1])) for n in windows]
    )


def measure(model: Model, folder: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All contenders in turn, in every round."""
    batch = collate([patch(number, options.window) for number in range(options.windows)])
    truth = model.probabilities(batch)
    rows, open_ones = [], []
    for name, make in contenders(model, folder, options):
        few = min(CORES, options.windows) if name.startswith("bf16") else options.windows
        some = each_tensor(batch, lambda tensor, n=few: tensor[:n])
        some = Batch(batch.ids[:few], some.layers, some.label)
        predict = partial(one_by_one, model)
        if make is not None:
            open_ones.append(make())
            predict = open_ones[-1].predict
        rows.append(Row(name, predict, some, truth[:few], []))
        rows[-1].warm()
    for _ in range(options.rounds):
        for row in rows:
            row.run()
    for each in open_ones:
        each.close()
    return {row.name: row.figures() for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("window", 256), ("windows", 8), ("rounds", 3), ("steps", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--norm", choices=("group", "batch"), default="group")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", default="", help="Parts of names, with commas between.")
    options = parser.parse_args()
    model = trained(options)
    parameters = sum(p.numel() for m in model.members for p in m.encoder.parameters())
    size = Shape2d(options.window, options.window)
    example = collate([patch(900, options.window)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if installed():
            calibration = [collate([patch(500 + n, options.window)]) for n in range(8)]
            start = time.perf_counter()
            export_model(model, folder, size, calibration)
            print(f"exported in {time.perf_counter() - start:.0f} s")
        rows = measure(model, folder, options)
    chosen = choose_plan(model, Wish(device="cpu", compiled="no"), example)
    peak = torch_peak(lambda: model.probabilities(example))
    print(
        f"U-Net of {parameters / 1e6:.2f} M parameters, norm {options.norm}, windows of "
        f"{options.window} px, {CORES} cores; one window takes {peak / 1e6:.0f} MB"
    )
    print(f"{'':<30}{'windows/s':>10}{'Mpx/s':>8}{'spread':>8}{'differs by':>12}{'agree':>9}")
    for name, row in rows.items():
        print(
            f"{name:<30}{row['windows_per_s']:>10.2f}{row['mpx_per_s']:>8.3f}{row['spread']:>8.2f}"
            f"{row['difference']:>12.2g}{row['agreement']:>9.4f}"
        )
    print(f"chosen by the trial: {chosen.plan}; {'; '.join(chosen.notes)}")
    result = {
        "parameters": parameters,
        "window": options.window,
        "norm": options.norm,
        "cores": CORES,
        "window_bytes": peak,
        "chosen": chosen.plan.to_json(),
        "rows": rows,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
