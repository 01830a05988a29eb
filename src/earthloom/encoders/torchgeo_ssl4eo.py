"""SSL4EO-S12 (Wang et al. 2023): backbones pretrained on Sentinel-1 and 2, listed by TorchGeo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from earthloom.encoders.base import Statistics
from earthloom.encoders.published import (
    Layout,
    Ordered,
    Taken,
    load_published,
    one_date,
    ordered,
    published_image,
    read_state,
)
from earthloom.encoders.timm_backbone import Staged
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_DATASET = "SSL4EO-S12"
_LISTS = (
    "ResNet18_Weights",
    "ResNet50_Weights",
    "ViTSmall16_Weights",
    "ViTBase16_Weights",
    "ViTLarge16_Weights",
    "ViTHuge14_Weights",
    "ViTSmall14_DINOv2_Weights",
    "ViTBase14_DINOv2_Weights",
)
"""Of TorchGeo, in which weights of this data set stand."""
_OPTICAL_SCALE = 10_000.0
"""Reflectance is in steps of 1/10000 there."""
_IMAGE = 224


@final
class Ssl4eo(Staged):
    """A ResNet or ViT pretrained on SSL4EO-S12: MoCo, DINO, MAE, FG-MAE, DeCUR, SoftCon.

    Bands: those that TorchGeo lists with the weights, which are all 13 of Sentinel-2 L1C, its
    red, green and blue, or VV and VH of Sentinel-1, of one date, in any number of layers; they are
    put in its order. Units: reflectance, and linear power, which becomes decibels. Statistics:
    those that TorchGeo normalises by, not those of the training pixels. What was not seen is the
    mean of the training pixels, as the network has no room for masks. `Features` as `Staged` says.
    """

    name = "ssl4eo"
    layout = Layout("", ("fc.", "head."), ("norm.",))

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        weights: str = "ResNet50_Weights.SENTINEL2_ALL_MOCO",
        reach: int | None = None,
    ) -> None:
        """`weights`: TorchGeo's name of those that this is the network of; they are not fetched.
        `reach` as of `TimmEncoder`. ContractError for another name, several dates, and bands that
        it does not take, or lacks."""
        super().__init__(layers, statistics)
        one_date(self.name, layers)
        self.weights, self.reach = weights, reach
        entry = listed(weights)
        self._order = _ordered(layers, entry)
        image = _IMAGE if entry.meta["model"].startswith("vit") else None
        self._build(entry.meta["model"], entry.meta["in_chans"], image)

    def config(self) -> dict[str, Any]:
        return {"weights": self.weights, "reach": self.reach}

    def read_weights(self, file: Path) -> None:
        """Takes the file that TorchGeo lists under this name; a classifier in it is passed over.
        DataError if a weight is missing, unexpected or of another shape."""
        load_published(self.net, read_state(file), self.layout, file)

    def _image(self, batch: Batch) -> Tensor:
        return published_image(self, batch, self._order, fill_with_mean=True)[:, 0]


def names() -> tuple[str, ...]:
    """Of all weights of this data set that TorchGeo lists."""
    import torchgeo.models

    entries = (entry for each in _LISTS for entry in getattr(torchgeo.models, each))
    return tuple(str(entry) for entry in entries if entry.meta.get("dataset") == _DATASET)


def listed(name: str) -> WeightsEnum:
    """TorchGeo's entry: `meta` says which bands and network, `transforms` how it normalises, `url`
    where the file is. ContractError for a name that is not among `names`."""
    import torchgeo.models

    if name not in names():
        raise ContractError(f"ssl4eo has no weights '{name}'; valid are: {choices(names())}")
    entry: WeightsEnum = torchgeo.models.get_weight(name)
    return entry


def _ordered(layers: tuple[LayerSpec, ...], entry: WeightsEnum) -> Ordered:
    """The bands of an entry among those of the layers, with its statistics in our units."""
    norms = [each for each in entry.transforms if hasattr(each, "mean")]
    count = entry.meta["in_chans"]
    mean, std = ((list(e) * count)[:count] for e in (norms[-1].mean, norms[-1].std))
    if entry.meta["bands"] == ["VV", "VH"]:
        radar = Taken(("VV", "VH"), "linear power", tuple(mean), tuple(std))
        offers = dict.fromkeys(("sentinel-1-grd-db", "sentinel-1-rtc"), radar)
        return ordered(Ssl4eo.name, layers, offers)
    bands = tuple(f"B{band[1:].upper():0>2}" for band in entry.meta["bands"])
    optical = Taken(
        bands, "1", tuple(e / _OPTICAL_SCALE for e in mean), tuple(e / _OPTICAL_SCALE for e in std)
    )
    return ordered(Ssl4eo.name, layers, {"sentinel-2-l1c": optical})
