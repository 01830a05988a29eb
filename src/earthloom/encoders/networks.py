"""The encoders over images, and those that are made of other encoders, by name."""

from collections.abc import Mapping

from earthloom.encoders.base import Encoder
from earthloom.encoders.dated import Dated
from earthloom.encoders.decoded import Decoded
from earthloom.encoders.fused import Fused, SomeLayers
from earthloom.encoders.loom import Loom
from earthloom.encoders.prithvi import Prithvi
from earthloom.encoders.random_conv import RandomConv
from earthloom.encoders.raw import Raw
from earthloom.encoders.timm_backbone import TimmEncoder
from earthloom.encoders.torchgeo import Dofa
from earthloom.encoders.torchgeo_copernicus import Copernicus
from earthloom.encoders.torchgeo_croma import Croma
from earthloom.encoders.torchgeo_panopticon import Panopticon
from earthloom.encoders.torchgeo_ssl4eo import Ssl4eo

NETWORKS: Mapping[str, type[Encoder]] = {
    each.name: each
    for each in (
        Copernicus,
        Croma,
        Dated,
        Decoded,
        Dofa,
        Fused,
        Loom,
        Panopticon,
        Prithvi,
        RandomConv,
        Raw,
        SomeLayers,
        Ssl4eo,
        TimmEncoder,
    )
}
"""By `Encoder.name`; none of them loads its library before one is made."""
