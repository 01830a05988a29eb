"""Training by gradient descent that just works: any task, any encoder, any head, any samples."""

from earthloom.fit.training.loop import train
from earthloom.fit.training.result import Entry, Trained, Validation
from earthloom.fit.training.schedule import Constant, Cosine, OneCycle, Schedule
from earthloom.fit.training.settings import Changes, Training

__all__ = [
    "Changes",
    "Constant",
    "Cosine",
    "Entry",
    "OneCycle",
    "Schedule",
    "Trained",
    "Training",
    "Validation",
    "train",
]
