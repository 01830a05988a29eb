"""Encoders of others: the documented one, registered, saved, offered elsewhere, refused."""

import importlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics, registry
from earthloom.encoders.catalogue import CATALOGUE, catalogued
from earthloom.encoders.compose import build
from earthloom.encoders.contract import check, chip_of
from earthloom.encoders.raw import Raw
from earthloom.encoders.registry import ENCODERS, register
from earthloom.errors import ContractError, DataError
from earthloom.fit.model import load_model, save_model
from earthloom.fit.shallow import SHALLOW
from earthloom.fit.statistics import statistics_of
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed
from earthloom.tasks import PixelClasses

DOCS = Path(__file__).parents[2] / "docs" / "encoders.md"
FINE = LayerSpec("mine", 3, ("green", "nir"), "1", ("1",), (560.0, 840.0))
COARSE = LayerSpec("mine", 6, ("swir",), "1", ("1",), (1610.0,), factor=2)
STATISTICS = {FINE.key: Statistics((0.2, 0.3), (0.1, 0.1)), COARSE.key: Statistics((0.2,), (0.1,))}
TASK = PixelClasses((1, 2), ("dark", "bright"), ((0, 0, 0), (9, 9, 9)))


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    registry._points.cache_clear()
    yield
    registry._points.cache_clear()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The page's own file, as a user would write it, imported."""
    section = DOCS.read_text(encoding="utf-8").split("## An encoder of your own")[1]
    (source,) = re.findall(r"```python\n(.*?)```", section, re.S)[:1]
    (tmp_path / "pixel_mlp.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(importlib.sys.modules, "pixel_mlp", raising=False)
    yield importlib.import_module("pixel_mlp")
    importlib.sys.modules.pop("pixel_mlp", None)


def _offer(folder, line):
    """What an installed package leaves of itself."""
    about = folder / "pixel_mlp-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pixel-mlp\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{line}\n")
    registry._points.cache_clear()
    importlib.invalidate_caches()


def _samples():
    chips = []
    for number in range(4):
        chip = chip_of((FINE, COARSE), STATISTICS, number, Shape2d(16, 16), clear=True)
        label = np.where(chip.layers[FINE.key].pixels[0, 0] > 0.2, 2, 1).astype(np.uint8)
        chips.append(replace(chip, label=label))
    return Listed(chips)


def test_the_documented_encoder_keeps_all_laws_and_serves_as_any_other(module):
    encoder = build({"name": "pixel-mlp", "width": 8}, (FINE, COARSE), STATISTICS)
    check(encoder)
    with pytest.raises(ContractError, match="the same bands in another order"):
        check(encoder, any_order=True)
    under = {"name": "dated", "encoder": {"name": "pixel-mlp"}, "dates": "mean"}
    check(build(under, (FINE, COARSE), STATISTICS))


def test_a_model_of_it_is_read_where_it_is_known_and_refused_where_it_is_not(
    module, tmp_path, monkeypatch
):
    samples = _samples()
    assert "pixel-mlp" in CATALOGUE
    encoder = catalogued("pixel-mlp", (FINE, COARSE), statistics_of(samples), samples, seed=0)
    model = SHALLOW["linear"]().fit(encoder, samples, TASK.fitted(samples), 0)
    save_model(model, tmp_path / "model")
    wanted = model.probabilities(collate([samples[0]]))
    truth = torch.from_numpy(samples[0].label.astype(np.int64))
    assert ((wanted.argmax(dim=1)[0] + 1) == truth).float().mean() > 0.9

    # As in a new process, in which nothing was imported.
    monkeypatch.setattr(registry, "_registered", {})
    with pytest.raises(DataError, match=r"unknown encoder 'pixel-mlp'; known: .*raw"):
        load_model(tmp_path / "model")
    _offer(tmp_path, "pixel-mlp = pixel_mlp:PixelMlp")
    assert registry.others() == {"pixel-mlp": "pixel_mlp:PixelMlp"}
    again = load_model(tmp_path / "model")
    torch.testing.assert_close(again.probabilities(collate([samples[0]])), wanted)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pixel-mlp = pixel_mlp:Gone", "does not load.*Gone"),
        ("pixel-mlp = no_such_module:X", "does not load.*no_such_module"),
        ("my-mlp = pixel_mlp:PixelMlp", "'my-mlp' calls itself 'pixel-mlp'"),
        ("mapping = pixel_mlp:Mapping", "is no class made of"),
    ],
)
def test_what_another_package_offers_wrongly_is_named_when_it_is_asked_for(
    module, tmp_path, monkeypatch, line, why
):
    monkeypatch.setattr(registry, "_registered", {})
    _offer(tmp_path, line)
    name = line.split(" = ")[0]
    assert name in ENCODERS
    assert name in CATALOGUE
    with pytest.raises(ContractError, match=why):
        build({"name": name}, (FINE,), STATISTICS)
    assert build({"name": "raw"}, (FINE,), STATISTICS).channels == 3


def test_no_other_class_takes_a_name(module, tmp_path):
    _offer(tmp_path, "raw = pixel_mlp:PixelMlp")
    assert ENCODERS["raw"] is Raw
    first = ENCODERS["pixel-mlp"]
    assert importlib.reload(module).PixelMlp is ENCODERS["pixel-mlp"] is not first

    class Another(first):
        name = "raw"

    with pytest.raises(ContractError, match=r"'raw' of .*Another is that of the encoder .*:Raw"):
        register(Another)
    Another.name = "pixel-mlp"
    with pytest.raises(ContractError, match="pixel_mlp:PixelMlp; taken are"):
        register(Another)
    with pytest.raises(ContractError, match="is no class made of"):
        register("raw")
