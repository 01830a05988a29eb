"""Accuracy, area and their intervals, and the report that shows them."""

from earthloom.assess.estimate import Estimate, Interval, estimate
from earthloom.assess.sample import SampleDesign, draw_sample
from earthloom.assess.scores import Scores, scores_of

__all__ = [
    "Estimate",
    "Interval",
    "SampleDesign",
    "Scores",
    "draw_sample",
    "estimate",
    "scores_of",
]
