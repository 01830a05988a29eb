"""What is said of an encoder that another one wraps."""

from abc import ABC

from earthloom.encoders.base import Encoder, Level


class Around(Encoder, ABC):
    """An encoder around another, with the grids and the channels of the one inside."""

    encoder: Encoder
    """The one inside; set where the outer one is made."""

    @property
    def radius(self) -> int:
        return self.encoder.radius

    @property
    def stride(self) -> int:
        return self.encoder.stride

    @property
    def alignment(self) -> int:
        return self.encoder.alignment

    @property
    def is_local(self) -> bool:
        return self.encoder.is_local

    @property
    def channels(self) -> int:
        return self.encoder.channels

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return self.encoder.pyramid

    @property
    def scene_channels(self) -> int:
        return self.encoder.scene_channels
