"""Pretraining of the any-sensor encoder, without labels, on any machine with torch.

    sources (simulated chips, series, shards) -> objectives (masked, contrast, joint, their sum)
    -> weights, card

Modules import one way:

    objective, spread, answer -> hiding, views -> looks -> masked, contrast, joint -> several
    -> landscape, phenology -> instruments, series -> simulated -> sources -> settings
    -> registry, config, feed, learner -> collapse, logs -> run -> even, card -> loop -> command
"""

from earthloom.pretrain.contrast import Contrast
from earthloom.pretrain.joint import Joint
from earthloom.pretrain.loop import Pretrained, pretrain
from earthloom.pretrain.masked import Masked
from earthloom.pretrain.objective import Draw, Loss, Objective, Part
from earthloom.pretrain.registry import OBJECTIVES
from earthloom.pretrain.settings import Pretraining
from earthloom.pretrain.several import Sum
from earthloom.pretrain.simulated import Simulated
from earthloom.pretrain.sources import SOURCES, Source, Stored

__all__ = [
    "OBJECTIVES",
    "SOURCES",
    "Contrast",
    "Draw",
    "Joint",
    "Loss",
    "Masked",
    "Objective",
    "Part",
    "Pretrained",
    "Pretraining",
    "Simulated",
    "Source",
    "Stored",
    "Sum",
    "pretrain",
]
