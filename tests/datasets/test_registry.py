"""The registry: tables are valid, and those that are not say where."""

from dataclasses import replace

import numpy as np
import pytest

from earthloom.datasets import (
    Expected,
    Imagery,
    LabelledSamples,
    ReadReport,
    check_scale,
    known_datasets,
    load_entry,
    parse_entry,
)
from earthloom.datasets.layouts import LAYOUTS
from earthloom.datasets.own import OWN
from earthloom.datasets.registry import TABLES
from earthloom.errors import DataError
from earthloom.sample import Chip, Shape2d, Subset, chips_of
from earthloom.sensors import known_sensors

EUROSAT = (TABLES / "eurosat.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", known_datasets())
def test_an_entry_is_whole(name):
    entry = load_entry(name)
    assert len(known_datasets()) >= 35
    assert entry.title
    assert entry.citation
    assert len({layer.spec.key for layer in entry.layers}) == len(entry.layers)
    if entry.source.kind == "own":
        assert entry.source.reader in OWN
    if entry.source.kind == "layout":
        assert entry.source.reader in LAYOUTS
        assert entry.layers[0].sensor in known_sensors()
    codes = [entry.codes[value] for value in entry.values or range(len(entry.classes))]
    assert codes == list(range(1, len(entry.classes) + 1))


def test_torchgeo_has_the_readers():
    module = pytest.importorskip("torchgeo.datasets")
    sources = [load_entry(name).source for name in known_datasets()]
    readers = {source.reader for source in sources if source.kind == "torchgeo"}
    assert {reader for reader in readers if not hasattr(module, reader)} == set()


def test_an_entry_of_ones_own(tmp_path):
    text = EUROSAT.replace('name = "eurosat"', 'name = "mine"')
    (tmp_path / "mine.dataset.toml").write_text(text)
    assert load_entry("mine", tmp_path).classes == load_entry("eurosat").classes
    assert "mine" in known_datasets(tmp_path)
    with pytest.raises(DataError, match="unknown dataset 'mine'; known are: aid,"):
        load_entry("mine")
    (tmp_path / "other.dataset.toml").write_text(text)
    with pytest.raises(DataError, match="line 1: name: 'mine' must be 'other', as the file"):
        load_entry("other", tmp_path)


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(part))


@pytest.mark.parametrize(
    ("old", "new", "at", "words"),
    [
        ('task = "scene-class"', 'task = "sorting"', "task", "task: 'sorting': input should be"),
        ("size =", "sise =", "sise", "sise: there is no such key"),
        ('gsd = 10', 'gsd = "ten"', "gsd", "layers.0.gsd: 'ten': input should be a valid number"),
        ('"B8A",', '"B8B",', "bands = [", "layers.0.bands: sentinel-2-l1c has no band 'B8B'"),
        ('unit = "1"', 'unit = "K"', "unit", "layers.0.unit: 'K' is not the unit of"),
        ("peak = 0.05", "peak = 9.0", "range", "layers.0.range: .* must rise, and hold the peak"),
        ('kind = "torchgeo"', 'kind = "magic"', "kind", "source.kind: 'magic': input should be"),
        ('"Forest"', '"River"', "classes", "classes: named twice: River"),
        ('licence = "MIT"\n', "", "name", "licence: this key is missing"),
        ("[capabilities]", "[abilities]", "[abilities]", "abilities: there is no such key"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(old, new, at, words):
    assert old in EUROSAT
    text = EUROSAT.replace(old, new, 1)
    with pytest.raises(DataError, match=rf"^x\.toml, line {line_of(text, at)}: {words}"):
        parse_entry(text, "x.toml")


def test_what_is_no_toml():
    with pytest.raises(DataError, match=r"x\.toml is not TOML: .*line 2"):
        parse_entry("a = 1\nb = = 2", "x.toml")


def test_labels_of_no_class():
    with pytest.raises(DataError, match="eurosat: the label 12 is of no class"):
        load_entry("eurosat").code(12)


class Constant:
    """Chips of one value each."""

    def __init__(self, *values: float) -> None:
        self.imagery, self.values = Imagery.of("sentinel-2-l2a", ["B04"]), values
        self.specs = {self.imagery.spec.key: self.imagery.spec}
        self.groups = ["a"] * len(values)

    def __len__(self) -> int:
        return len(self.values)

    def chip(self, index: int) -> Chip:
        layer = self.imagery.layer(np.full((1, 2, 2), self.values[index]))
        return Chip(str(index), Shape2d(2, 2), {layer.spec.key: layer})

    def target(self, index: int) -> None:
        return None


def samples(*values: float) -> LabelledSamples:
    return LabelledSamples("x", "pixel-class", ("a",), Constant(*values), ReadReport(len(values)))


EXPECTED = {"sentinel-2-l2a_10m": Expected((-0.1, 2.0), 0.05, 1.0)}


@pytest.mark.parametrize("values", [(100, 3000), (500,), (0, 600)])
def test_values_that_look_like_their_unit(values):
    check_scale(samples(*values), EXPECTED)


@pytest.mark.parametrize("values", [(0.01, 0.3), (10, 255), (100, 30000), (-5000, 4000), (15000,)])
def test_values_that_do_not(values):
    with pytest.raises(DataError, match=r"x: the values of layer sentinel-2-l2a_10m do not look"):
        check_scale(samples(*values), EXPECTED)


def test_samples_can_be_split():
    part = Subset(samples(500, 600, 700), [2, 0])
    assert [chip.id for chip in chips_of(part)] == ["2", "0"]
    assert list(part.groups) == ["a", "a"]


def test_samples_are_a_sequence():
    found = samples(500, 600, 700)
    assert found[-1].id == "2"
    assert found.targets[:2] == [None, None]
    for index in (3, -4):
        with pytest.raises(IndexError):
            found[index]
        with pytest.raises(IndexError):
            found.targets[index]
    assert [chip.id for chip in (found[at] for at in range(len(found)))] == ["0", "1", "2"]


def test_a_report_in_words():
    report = ReadReport(9, {"broken": 2, "lost": 0})
    assert report.sentence() == "9 found, 7 kept; 2 broken"
    assert replace(report, skipped={}).sentence() == "9 found, 9 kept"
