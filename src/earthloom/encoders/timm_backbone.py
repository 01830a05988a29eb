"""Any backbone of timm as an encoder, for any number of bands and dates (timm: Wightman 2019)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from earthloom.encoders.base import Encoder, Features, Level, Statistics, base_shape, seen_in
from earthloom.encoders.planes import cells_of, image_of, padded, plane_channels, share_in_cells
from earthloom.errors import ContractError, DataError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch

_SETTINGS: Mapping[str, Mapping[str, bool]] = {
    "eva": {"dynamic_img_size": True},
    "resnet": {"zero_init_last": False},
    "swin_transformer": {"strict_img_size": False},
    "swin_transformer_v2": {"strict_img_size": False},
    "vision_transformer": {"dynamic_img_size": True},
}
"""What a family of timm, by its module, must be told: to take images of any size, and not to begin
with residual branches that give nothing, which leaves an untrained network without features."""

_TAPS = 4
"""Blocks that a network of one resolution is read after; evenly spaced, the last one among them, as
in dense prediction with plain transformers (Li et al. 2022)."""


class Staged(Encoder, ABC):
    """One image of all layers under a backbone of timm.

    `Features.pyramid` are the stages of the network (of a plain ViT, the tokens after four of its
    blocks), and `Features.pixels` the last of them; `Decoded` makes finer features of these.
    Windows of any size: they are padded to a multiple of the coarsest stage, and the pyramid keeps
    the padding, so that every level covers the same window.
    """

    architecture: str
    reach: int | None
    net: nn.Module

    def _build(self, architecture: str, channels: int, image: int | None = None) -> None:
        """The network, for images of so many channels, made for `image` pixels along a side."""
        self.architecture = architecture
        self.net, self._levels, self._taps = _network(architecture, channels, image)
        # A plain transformer's last norm belongs to its tokens; stages of others have none.
        self._normed = len({level.stride for level in self._levels}) == 1

    @abstractmethod
    def _image(self, batch: Batch) -> Tensor:
        """(B, C, H, W) that the network is shown."""

    @property
    def radius(self) -> int:
        return 2 * self.stride if self.reach is None else self.reach

    @property
    def stride(self) -> int:
        return self._levels[-1].stride

    @property
    def alignment(self) -> int:
        factors = (layer.factor for layer in self.layers)
        return math.lcm(*(level.stride for level in self._levels), *factors)

    @property
    def is_local(self) -> bool:
        return False

    @property
    def channels(self) -> int:
        return self._levels[-1].channels

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return self._levels

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The stages of the network, of a plain transformer its blocks: what timm names as such,
        and what is left of it."""
        parts = dict(self.net.named_modules())
        info: Any = self.net.feature_info
        found = [parts[each["module"]] for each in info if each["module"] in parts]
        return tuple(part for part in found if any(True for _ in part.parameters()))

    def forward(self, batch: Batch) -> Features:
        shape, seen = base_shape(self.layers, batch), seen_in(self.layers, batch)
        multiple = math.lcm(*(level.stride for level in self._levels))
        read = self.net.forward_intermediates(  # type: ignore[operator]
            padded(self._image(batch), multiple),
            indices=self._taps,
            norm=self._normed,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        stages: tuple[Tensor, ...] = tuple(stage.float() for stage in read)
        rows, cols = cells_of(shape.rows, shape.cols, self.stride)
        return Features(
            stages[-1][..., :rows, :cols],
            share_in_cells(seen, self.stride) > 0,
            stages,
            stride=self.stride,
            shape=shape,
        )


@final
class TimmEncoder(Staged):
    """All dates and bands side by side, with mask channels, under a backbone of timm.

    The first convolution has as many channels as there are planes; what pads a window is what was
    not seen. Weights are random from torch's seed; `read_weights` takes them from a file.
    """

    name = "timm"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        architecture: str = "resnet18",
        reach: int | None = None,
    ) -> None:
        """`architecture`: timm's name of it. `reach`: pixels of the base grid that count as its
        radius, though such networks see further; None for two cells of the coarsest stage, beyond
        which little is left in a trained network (effective receptive field, Luo et al. 2016).
        ContractError for a name that timm does not have, or a network that cannot be read in
        stages of any size."""
        super().__init__(layers, statistics)
        self.reach = reach
        self._build(architecture, plane_channels(layers))

    def config(self) -> dict[str, Any]:
        return {"architecture": self.architecture, "reach": self.reach}

    def _image(self, batch: Batch) -> Tensor:
        return image_of(self, batch)

    def read_weights(self, file: Path) -> None:
        """Takes the backbone's weights from a safetensors file with timm's names.

        A first convolution of another number of channels is made to fit: its filters are repeated
        over the planes and scaled down, as timm does it. A classifier in the file is passed over.
        DataError if the file cannot be read, or lacks a weight, or has one of another shape.
        """
        from timm.models import adapt_input_conv

        try:
            given = load_file(file)
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"no weights can be read from {file}: {error}; valid is a safetensors file"
            ) from error
        own = self.net.state_dict()
        missing = [name for name in own if name not in given]
        if missing:
            raise DataError(
                f"{file} has no weights {choices(missing[:3])}, which {self.architecture} needs; "
                f"it has: {choices(list(given)[:3])}"
            )
        chosen = {}
        for name, tensor in own.items():
            weight = given[name]
            if weight.ndim == 4 and weight.shape[1] == 3 != tensor.shape[1]:
                weight = adapt_input_conv(tensor.shape[1], weight)
            if weight.shape != tensor.shape:
                raise DataError(
                    f"{file}: {name} has the shape {tuple(weight.shape)}; {self.architecture} for "
                    f"these layers needs {tuple(tensor.shape)}"
                )
            chosen[name] = weight
        self.net.load_state_dict(chosen)


def _network(
    architecture: str, channels: int, image: int | None
) -> tuple[nn.Module, tuple[Level, ...], list[int]]:
    """A backbone without its classifier, its stages, and where they are read."""
    import timm
    from timm.models import is_model, model_entrypoint

    if not is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=5, cutoff=0.3)
        raise ContractError(
            f"timm has no architecture '{architecture}'; valid are its names, such as "
            f"{choices(near)}"
        )
    family = model_entrypoint(architecture).__module__.split(".")[-1]
    settings: dict[str, Any] = {"in_chans": channels, "num_classes": 0}
    settings |= _SETTINGS.get(family, {})
    if image is not None:
        settings["img_size"] = image
    net: Any = timm.create_model(architecture, **settings)
    if not hasattr(net, "forward_intermediates"):
        raise ContractError(
            f"timm's {architecture} cannot be read in stages; choose one that can, such as "
            "resnet18, convnext_atto, swin_tiny_patch4_window7_224, vit_tiny_patch16_224"
        )
    stages = [Level(each["num_chs"], each["reduction"]) for each in net.feature_info]
    taps = list(range(len(stages)))
    plain = len({stage.stride for stage in stages}) == 1
    if plain:
        last = len(stages)
        taps = sorted({-(-last * (tap + 1) // _TAPS) - 1 for tap in range(_TAPS)})
    net.prune_intermediate_layers(taps, prune_norm=not plain, prune_head=True)
    return net, tuple(stages[tap] for tap in taps), taps
