"""Published datasets, and one's own in common layouts, as chips with their answers.

`open_dataset("eurosat", folder, "train")` opens a registered one, whatever reads it;
`read_layout("yolo", folder)` one in a common layout. The registry is data: a TOML table each.
"""

from earthloom.datasets.imagery import Imagery
from earthloom.datasets.layouts import LAYOUTS, read_layout
from earthloom.datasets.model import Capabilities, Entry, EntryLayer, Source
from earthloom.datasets.open import open_dataset
from earthloom.datasets.registry import known_datasets, load_entry, parse_entry
from earthloom.datasets.samples import Expected, LabelledSamples, ReadReport, check_scale

__all__ = [
    "LAYOUTS",
    "Capabilities",
    "Entry",
    "EntryLayer",
    "Expected",
    "Imagery",
    "LabelledSamples",
    "ReadReport",
    "Source",
    "check_scale",
    "known_datasets",
    "load_entry",
    "open_dataset",
    "parse_entry",
    "read_layout",
]
