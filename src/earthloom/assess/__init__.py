"""Accuracy, area and their intervals, and the report that shows them."""

from earthloom.assess.estimate import Estimate, Interval, estimate
from earthloom.assess.sample import SampleDesign, draw_sample

__all__ = [
    "Estimate",
    "Interval",
    "SampleDesign",
    "draw_sample",
    "estimate",
]
