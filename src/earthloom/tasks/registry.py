"""The heads that a saved model may name."""

from earthloom.tasks.boosted import BoostedHead
from earthloom.tasks.forest import ForestHead
from earthloom.tasks.heads import ConvHead, Head
from earthloom.tasks.ridge import RidgeHead

HEADS: dict[str, type[Head]] = {
    BoostedHead.name: BoostedHead,
    ConvHead.name: ConvHead,
    RidgeHead.name: RidgeHead,
    ForestHead.name: ForestHead,
}
"""By `Head.name`."""
