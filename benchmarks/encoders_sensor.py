"""How well an encoder serves a sensor that pretraining did not see: Landsat, simulated.

Part of `benchmarks/encoders.py`. On simulated landscapes of a seed of their own, Landsat's OLI
looks at chips of 96 x 96 pixels of 10 m on three dates of a year, through clouds, at 30 m. A linear
probe tells the eleven classes of pixels, in three folds of whole landscapes, all labels; macro-F1.

`unseen_sensor` is that score over the score of weights whose pretraining had Landsat
(`--included`). Without those it is that score over the score of the same weights on Sentinel-2's
six bands that are nearest to OLI's, of the same chips at the same 30 m on as many dates: a sensor
that was seen, and shows as much. `unseen_sensor_against` says which of the two it is. The same
network untrained is measured beside both.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from encoders_probe import Coded, scored
from encoders_sets import Opened, features_of, untrained

from earthloom.encoders import Encoder
from earthloom.encoders.loom import Loom, load_loom
from earthloom.pretrain.instruments import Instrument, Msi, known_instruments
from earthloom.pretrain.landscape import Landscape, Patch, make_landscape
from earthloom.sample import Chip, Layer, LayerSpec, Listed, Shape2d
from earthloom.world import BANDS, CLASSES, WAVELENGTH

SEED = 77_000
"""Of the landscapes; no pretraining has it."""
LANDSCAPES, SIDE, CHIPS, CHIP = 20, 192, 4, 96
SHARE = 1 / 40
"""Of the pixels of a chip that are rows."""
FOLDS = 3
TWIN = ("B02", "B03", "B04", "B8A", "B11", "B12")
"""Of Sentinel-2, nearest to OLI's blue, green, red, NIR and both SWIR."""


def measured(weights: Path, included: Path | None, seeds: int) -> dict[str, Any]:
    """`unseen_sensor` and what it is made of."""
    landsat = known_instruments()["landsat"]
    twin = _twin(landsat.spec)
    lands = [make_landscape(SEED, number, SIDE) for number in range(LANDSCAPES)]
    sets = {"landsat": seen_by(landsat, lands), "sentinel-2 at 30 m": seen_by(twin, lands)}
    found = {
        sensor: {
            "loom": _score(_trained(opened, weights), opened, seeds),
            "untrained": _score(_blank(opened, weights), opened, seeds),
        }
        for sensor, opened in sets.items()
    }
    against, best = "sentinel-2 at 30 m", found["sentinel-2 at 30 m"]["loom"]
    if included is not None:
        against = "weights that saw Landsat"
        best = _score(_trained(sets["landsat"], included), sets["landsat"], seeds)
        found["landsat"]["loom that saw it"] = best
    ratio = found["landsat"]["loom"] / best
    for sensor, scores in found.items():
        print(f"{sensor:<20}", "   ".join(f"{way} {score:.3f}" for way, score in scores.items()))
    print(f"unseen sensor: {ratio:.3f} of {against}", flush=True)
    return {
        "unseen_sensor": round(ratio, 3),
        "unseen_sensor_against": against,
        "unseen_sensor_scores": found,
    }


def _twin(spec: LayerSpec) -> Instrument:
    """Sentinel-2 at Landsat's sampling distance, on as many dates."""
    wavelengths = tuple(float(WAVELENGTH[BANDS.index(band)]) for band in TWIN)
    like = replace(spec, sensor="sentinel-2-l2a", bands=TWIN, wavelengths_nm=wavelengths)
    return Msi(like)


def seen_by(instrument: Instrument, lands: list[Landscape]) -> Opened:
    """Chips of landscapes, with the class of every pixel."""
    chips = []
    for number, land in enumerate(lands):
        random = np.random.default_rng([SEED, number])
        for at in range(CHIPS):
            row, col = random.integers(0, SIDE - CHIP + 1, 2)
            patch = Patch(int(row), int(col), CHIP)
            days = random.permutation(land.days[instrument.pool])[: len(instrument.spec.dates)]
            layer = _layer(instrument, land, sorted(days.tolist()), patch, random)
            label = patch.of(land.world.class_map(int(np.median(days)))).astype(np.uint8)
            chips.append(
                Chip(
                    f"{number}-{at}", Shape2d(CHIP, CHIP), {layer.spec.key: layer}, label,
                    f"landscape {number}",
                )
            )  # fmt: skip
    return Opened((Listed(chips),), tuple(each.name for each in CLASSES), SHARE)


def _layer(
    instrument: Instrument, land: Landscape, days: list[int], patch: Patch,
    random: np.random.Generator,
) -> Layer:  # fmt: skip
    seen = [instrument.look(land, day, patch, random) for day in days]
    valid = np.stack([each.valid for each in seen])
    pixels = np.stack([each.pixels for each in seen])
    pixels = np.where(valid[:, None], pixels, np.float32(np.nan)).astype(np.float32)
    return Layer(instrument.spec, pixels, valid, np.array(days, np.int32) + land.new_year)


def _trained(opened: Opened, weights: Path) -> Loom:
    return load_loom(opened.specs, opened.statistics, weights)


def _blank(opened: Opened, weights: Path) -> Loom:
    return untrained(opened.specs, opened.statistics, _trained(opened, weights).size, seed=0)


def _score(encoder: Encoder, opened: Opened, seeds: int) -> float:
    """Mean of macro-F1 over seeds, which deal the landscapes and draw the labels."""
    coded: Mapping[str, Coded] = {
        "": Coded(features_of(encoder, opened, half=False), encoder.channels)
    }
    truth = opened.truth()
    each = [scored(coded, truth, FOLDS, "macro_f1", None, seed)[""] for seed in range(seeds)]
    return round(float(np.mean(each)), 4)
