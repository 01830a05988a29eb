"""The bands themselves as features: what every encoder must be better than."""

from typing import Any, final

from earthloom.encoders.base import Encoder, Features, seen_in
from earthloom.encoders.planes import image_of, plane_channels
from earthloom.sample.batch import Batch


@final
class Raw(Encoder):
    """All bands of all dates, standardised, and a mask a date; nothing is learned.

    Features stand in the order of the layers, in each of its dates, in each of its bands, then its
    mask: the share of the bands that was seen. A band that was not seen is 0, the training mean.
    """

    name = "raw"

    @property
    def radius(self) -> int:
        # Bilinear resampling looks at one more pixel of the coarsest layer.
        coarsest = max(layer.factor for layer in self.layers)
        return coarsest if coarsest > 1 else 0

    @property
    def alignment(self) -> int:
        return max(layer.factor for layer in self.layers)

    @property
    def channels(self) -> int:
        return plane_channels(self.layers)

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: Batch) -> Features:
        return Features(image_of(self, batch), seen_in(self.layers, batch))
