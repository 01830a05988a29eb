"""Readers of datasets whose layout is their own."""

from collections.abc import Callable, Mapping
from pathlib import Path

from earthloom.datasets.model import Entry
from earthloom.datasets.own.flat import read_histograms
from earthloom.datasets.own.geobench import read_geobench
from earthloom.datasets.own.months import read_biomassters
from earthloom.datasets.own.rasters import (
    read_bigearthnet,
    read_change_samples,
    read_oscd_early,
    read_sen1floods11,
)
from earthloom.datasets.own.scenes import (
    read_fields,
    read_flair,
    read_mados,
    read_merged,
    read_pairs,
    read_sen1floods11_lists,
)
from earthloom.datasets.own.series import read_cropharvest, read_pastis
from earthloom.datasets.own.ships import read_hrsc
from earthloom.datasets.samples import LabelledSamples

OWN: Mapping[str, Callable[[Entry, Path, str], LabelledSamples]] = {
    "oscd-early": read_oscd_early,
    "sen1floods11": read_sen1floods11,
    "sen1floods11-lists": read_sen1floods11_lists,
    "bigearthnet-folders": read_bigearthnet,
    "change-samples": read_change_samples,
    "poverty-histograms": read_histograms,
    "pastis": read_pastis,
    "cropharvest": read_cropharvest,
    "geo-bench": read_geobench,
    "hls-merged": read_merged,
    "mados": read_mados,
    "biomassters": read_biomassters,
    "image-pairs": read_pairs,
    "fields-of-the-world": read_fields,
    "flair": read_flair,
    "hrsc2016": read_hrsc,
}
"""By the name in an entry's source."""
