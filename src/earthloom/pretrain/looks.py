"""What two views of a batch say of the same things, for objectives that compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from earthloom.encoders import Features
from earthloom.errors import ContractError
from earthloom.pretrain.views import View


@dataclass(frozen=True)
class SharedPixels:
    """Pixels that both views saw."""

    first: Tensor
    """(N, F) features by the first view."""
    second: Tensor
    """(N, F) by the second one."""
    places: Tensor
    """(N,) where they lie among all pixels that both show, flat."""


def shared_pixels(
    features: Sequence[Features], views: tuple[View, View], most: int, random: Generator
) -> SharedPixels:
    """At most so many pixels that both views saw, drawn."""
    first, second = views
    valid = first.shared(features[0].seen, second) & second.shared(features[1].seen, first)
    places = valid.flatten().nonzero()[:, 0]
    order = torch.randperm(len(places), generator=random)
    places = places[order[:most].to(places.device)]
    found = []
    for each, view, other in zip(features, views, views[::-1], strict=True):
        shared = view.shared(each.pixels, other)
        found.append(shared.permute(0, 2, 3, 1).reshape(-1, shared.shape[1])[places])
    return SharedPixels(found[0], found[1], places)


def seen_by_all(features: Sequence[Features]) -> Tensor:
    """(B,) bool: the chips of which every view saw anything."""
    return torch.stack([each.seen.flatten(1).any(dim=1) for each in features]).all(dim=0)


def projector(given: int, width: int) -> nn.Module:
    """From `given` numbers to the `width` ones that are compared."""
    return nn.Sequential(
        nn.LayerNorm(given), nn.Linear(given, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
    )


def check_settings(
    settings: object,
    shares: Sequence[str] = (),
    weights: Sequence[str] = (),
    counts: Sequence[str] = (),
) -> None:
    """ContractError where a share is not 0 to 1, a weight below 0, or a count below 1."""
    for name in shares:
        if not 0 <= getattr(settings, name) <= 1:
            raise ContractError(f"{name} is {getattr(settings, name)}; valid is 0 to 1")
    for names, least in ((weights, 0), (counts, 1)):
        for name in names:
            if getattr(settings, name) < least:
                raise ContractError(
                    f"{name} is {getattr(settings, name)}; valid are {least} and above"
                )
