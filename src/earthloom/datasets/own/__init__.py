"""Readers of datasets whose layout is their own."""

from collections.abc import Callable, Mapping
from pathlib import Path

from earthloom.datasets.model import Entry
from earthloom.datasets.own.flat import read_histograms
from earthloom.datasets.own.rasters import (
    read_bigearthnet,
    read_change_samples,
    read_oscd_early,
    read_sen1floods11,
)
from earthloom.datasets.samples import LabelledSamples

OWN: Mapping[str, Callable[[Entry, Path, str], LabelledSamples]] = {
    "oscd-early": read_oscd_early,
    "sen1floods11": read_sen1floods11,
    "bigearthnet-folders": read_bigearthnet,
    "change-samples": read_change_samples,
    "poverty-histograms": read_histograms,
}
"""By the name in an entry's source."""
