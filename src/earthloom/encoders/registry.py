"""The encoders that a saved model may name."""

from earthloom.encoders.base import Encoder
from earthloom.encoders.change_features import ChangeFeatures
from earthloom.encoders.networks import NETWORKS
from earthloom.encoders.time_features import TimeFeatures
from earthloom.encoders.unet import UNet

ENCODERS: dict[str, type[Encoder]] = {
    ChangeFeatures.name: ChangeFeatures,
    TimeFeatures.name: TimeFeatures,
    UNet.name: UNet,
    **NETWORKS,
}
"""By `Encoder.name`."""
