"""Batches for a training: as many as it has steps, in one order that the seed decides."""

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.sampling import Cycled, Grid, Rule, Sampler
from earthloom.encoders import Encoder, Statistics
from earthloom.errors import ContractError, LabelError
from earthloom.fit.augment import Augment
from earthloom.fit.training.settings import Training
from earthloom.sample import Chip, Samples, Shape2d, chips_of
from earthloom.sample.needs import Needs
from earthloom.sample.target import says_anything


@dataclass(frozen=True)
class Repeated:
    """A rule's epochs, one after the other, up to a count."""

    rule: Rule
    count: int
    """Chips in all."""

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        parts: list[NDArray[np.int64]] = []
        left = self.count
        while left > 0:
            part = np.asarray(self.rule.order(random), np.int64)[:left]
            if not len(part):
                raise ContractError(f"{self.count} chips are asked for, but the rule draws none")
            parts.append(part)
            left -= len(part)
        return np.concatenate(parts)


def labelled_rows(samples: Samples) -> NDArray[np.int64]:
    """Numbers of the chips that have anything to learn from; LabelError where there is none."""
    found = [row for row, chip in enumerate(chips_of(samples)) if _has_answer(chip)]
    if not found:
        raise LabelError(f"none of the {len(samples)} training chips has a label")
    return np.array(found, np.int64)


def training_batches(
    samples: Samples, encoder: Encoder, training: Training, rule: Rule | None
) -> Loader:
    """One epoch that holds every batch of the training."""
    count = training.drawn
    drawn = Cycled(labelled_rows(samples), count) if rule is None else Repeated(rule, count)
    loading = Loading(training.batch, workers=training.workers)
    return Loader(samples, Sampler(drawn, training.seed), loading, _needs(encoder))


def validation_batches(samples: Samples, encoder: Encoder, training: Training) -> Loader:
    """Every validation chip once, in order."""
    order = Sampler(Grid(np.arange(len(samples))), seed=0)
    loading = Loading(training.batch, workers=training.workers, even=False)
    return Loader(samples, order, loading, _needs(encoder))


def _needs(encoder: Encoder) -> Needs | None:
    """None for what looks features up and asks for no layer."""
    return Needs(encoder.layers) if encoder.layers else None


def augment_of(
    samples: Samples, loader: Loader, encoder: Encoder, training: Training
) -> Augment | None:
    """What happens to each batch; None where nothing does."""
    crop = crop_within(samples[0].shape, encoder, training.crop)
    if crop is None and not training.changes.any:
        return None
    return Augment(
        loader.specs,
        training.seed,
        crop=crop,
        statistics=_means(encoder),
        **asdict(training.changes),
    )


def crop_within(shape: Shape2d, encoder: Encoder, crop: int | None) -> int | None:
    """Pixels of the piece of a chip of this shape that a step trains on, whole ones of every layer
    and of the encoder; None where chips are not larger."""
    if crop is None or crop >= min(shape):
        return None
    step = math.lcm(encoder.stride, *(spec.factor for spec in encoder.layers))
    return max(crop // step, 1) * step


def _means(encoder: Encoder) -> dict[str, Statistics]:
    """What hidden bands hold: of the training pixels, as the encoder knows them. Only means are
    asked for."""
    means = {spec.key: encoder.mean_of(spec).flatten().tolist() for spec in encoder.layers}
    return {key: Statistics(tuple(mean), (1.0,) * len(mean)) for key, mean in means.items()}


def _has_answer(chip: Chip) -> bool:
    label = chip.usable_label
    return says_anything(chip.target) or (label is not None and bool(label.any()))
