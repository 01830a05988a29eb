"""The encoders that a saved model may name."""

from earthloom.encoders.base import Encoder
from earthloom.encoders.time_features import TimeFeatures

ENCODERS: dict[str, type[Encoder]] = {TimeFeatures.name: TimeFeatures}
"""By `Encoder.name`."""
