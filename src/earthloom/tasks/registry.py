"""The heads that a saved model may name."""

from earthloom.tasks.forest import ForestHead
from earthloom.tasks.heads import ConvHead, Head
from earthloom.tasks.ridge import RidgeHead

HEADS: dict[str, type[Head]] = {
    ConvHead.name: ConvHead,
    RidgeHead.name: RidgeHead,
    ForestHead.name: ForestHead,
}
"""By `Head.name`."""
