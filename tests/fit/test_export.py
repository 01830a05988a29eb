"""Exported networks say what the model says, in every runtime."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from earthloom.encoders.time_features import TimeFeatures
from earthloom.encoders.unet import UNet
from earthloom.errors import ContractError, DataError, ProjectError, StageError
from earthloom.fit import Model
from earthloom.fit.flat import each_tensor
from earthloom.fit.model import Member
from earthloom.fit.statistics import statistics_of
from earthloom.fit.trial import largest_difference
from earthloom.sample import Shape2d
from earthloom.sample.batch import collate
from earthloom.tasks.heads import ConvHead

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from earthloom.fit import exported, runtimes  # noqa: E402
from earthloom.fit.card import METADATA_KEY, Card  # noqa: E402
from earthloom.fit.export import CHOICE, FLOAT, INT8, export_model  # noqa: E402
from earthloom.fit.exported import (  # noqa: E402
    AGREEMENT,
    Exported,
    agreement,
    choose_export,
    load_exported,
)

RUNTIMES = runtimes.installed()
WINDOW = Shape2d(8, 8)

pytestmark = pytest.mark.skipif(not RUNTIMES, reason="needs onnxruntime or openvino")

CLOSE = 5e-5
"""Most that a probability of a float32 graph differs: runtimes add in orders of their own."""


@pytest.fixture(scope="module")
def network(chips, task):
    """Two members whose classes differ by a margin, as those of a trained network do."""
    layers, statistics = tuple(chips.specs.values()), statistics_of(chips)
    members = []
    for number in range(2):
        torch.manual_seed(number)
        encoder = UNet(layers, statistics, width=8, levels=1).eval()
        head = ConvHead(8, len(task.codes)).eval()
        torch.nn.init.normal_(head.layer.weight, std=2.0)
        members.append(Member(encoder, head))
    return Model(tuple(members), task, None, {"seed": 0, "labels": {"water": 7}})


@pytest.fixture(scope="module")
def windows(chips):
    batch = collate(chips.chips[:5])
    for layer in batch.layers.values():
        layer.pixels[1, :, :, :3] = torch.nan
        layer.valid[1, :, :3] = False
    return batch


@pytest.fixture(scope="module")
def folder(network, windows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    written = export_model(network, folder, WINDOW, [windows])
    assert [path.name for path in written] == [FLOAT, INT8]
    return folder


def _predicted(path, runtime, windows, **options):
    loaded = load_exported(path, runtime, **options)
    try:
        return loaded.predict(windows)
    finally:
        loaded.close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_says_what_the_model_says(folder, network, windows, runtime):
    wanted = network.probabilities(windows)
    assert wanted.isnan().any()
    found = _predicted(folder / FLOAT, runtime, windows)
    assert found.dtype == torch.float32
    assert largest_difference(found, wanted) < CLOSE


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_int8_stays_close_and_nan_stays_nan(folder, network, windows, runtime):
    wanted = network.probabilities(windows)
    found = _predicted(folder / INT8, runtime, windows)
    assert 1e-6 < largest_difference(found, wanted) < 0.3
    assert agreement(found, wanted) > 0.95


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_bytes_hang_neither_on_lanes_nor_on_neighbours(folder, windows, runtime):
    order = [3, 0, 4]
    moved = each_tensor(windows, lambda tensor: tensor[order])
    wanted = _predicted(folder, runtime, windows, batch=2)[order]
    found = _predicted(folder, runtime, moved, batch=2, lanes=2)
    assert torch.equal(found.nan_to_num(-1), wanted.nan_to_num(-1))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", [FLOAT, INT8])
def test_the_contract_travels_with_the_file(folder, network, windows, runtime, name):
    loaded = load_exported(folder / name, runtime)
    assert loaded.layers == network.layers
    assert loaded.task == network.task
    assert loaded.threshold == network.threshold
    assert loaded.radius == network.radius
    card = loaded.card
    assert card.window == WINDOW
    assert card.numbers == ("int8" if name == INT8 else "float32")
    assert card.record == network.record
    key = network.layers[0].key
    mean = network.members[0].encoder.mean_of(network.layers[0]).flatten().tolist()
    assert list(card.statistics[key]["mean"]) == mean
    assert loaded.inputs()["runtime"] == runtime
    specs = {layer.key: layer for layer in network.layers}
    loaded.check(specs)
    wrong = dataclasses.replace(specs[key], unit="metres")
    with pytest.raises(ContractError, match="expects unit"):
        loaded.check(specs | {key: wrong})
    with pytest.raises(ContractError, match="expects layer"):
        loaded.check({})
    loaded.close()


def test_a_stranger_runs_it_from_the_card_alone(folder, windows, network):
    """As the documentation shows it: no torch, no earthloom."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(folder / FLOAT))
    card = json.loads(session.get_modelmeta().custom_metadata_map["earthloom"])
    inputs = {}
    for layer in card["layers"]:
        key = f"{layer['sensor']}_{layer['gsd']:g}m"
        inputs[key] = windows.layers[key].pixels.numpy()
    (shares,) = session.run(["probabilities"], inputs)
    seen = ~np.isnan(shares[:, 0])
    np.testing.assert_allclose(shares.sum(1)[seen], 1, atol=1e-5)
    wanted = network.probabilities(windows)
    assert largest_difference(torch.from_numpy(shares), wanted) < CLOSE


def test_the_same_model_gives_the_same_file_and_nothing_stale_stays(folder, network, tmp_path):
    for stale in (INT8, CHOICE):
        (tmp_path / stale).write_text("of an earlier model")
    assert export_model(network, tmp_path, WINDOW) == [tmp_path / FLOAT]
    assert [path.name for path in tmp_path.iterdir()] == [FLOAT]
    assert (tmp_path / FLOAT).read_bytes() == (folder / FLOAT).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [INT8, FLOAT]


@pytest.fixture(scope="module")
def any_size(network, tmp_path_factory):
    """Of one member and for windows of any size, without int8."""
    folder = tmp_path_factory.mktemp("any-size")
    one = dataclasses.replace(network, members=network.members[:1])
    export_model(one, folder)
    return one, folder


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_windows_of_any_size(any_size, windows, runtime):
    one, folder = any_size
    loaded = load_exported(folder, runtime)
    assert loaded.card.window is None
    for rows, cols in ((8, 8), (2, 2), (6, 8), (16, 4)):
        sized = _of_size(windows, one, rows, cols)
        found, wanted = loaded.predict(sized), one.probabilities(sized)
        assert found.shape[-2:] == (rows, cols)
        assert largest_difference(found, wanted) < CLOSE, (rows, cols)
    loaded.close()


def _of_size(batch, model, rows, cols):
    """Windows repeated and cut to a size."""
    layers = {}
    for spec in model.layers:
        layer, high, wide = batch.layers[spec.key], rows // spec.factor, cols // spec.factor
        pixels = layer.pixels.repeat(1, 1, 1, 2, 2)[..., :high, :wide]
        valid = layer.valid.repeat(1, 1, 2, 2)[..., :high, :wide]
        layers[spec.key] = dataclasses.replace(layer, pixels=pixels, valid=valid)
    return dataclasses.replace(batch, layers=layers)


def test_the_choice_is_measured_and_kept(folder, network, windows):
    found = choose_export(network, folder, windows, repeats=1)
    assert {(m.file, m.runtime) for m in found} == {(f, r) for f in (FLOAT, INT8) for r in RUNTIMES}
    assert all(m.trusted for m in found if m.file == FLOAT)
    kept = json.loads((folder / CHOICE).read_text())
    loaded = load_exported(folder)
    assert loaded.path.name == kept["file"]
    assert loaded.inputs()["runtime"] == kept["runtime"]
    loaded.close()
    (folder / CHOICE).unlink()


@pytest.mark.parametrize(
    ("int8_s", "int8_agreement", "wanted"),
    [(0.5, 0.999, INT8), (0.99, 0.999, FLOAT), (0.1, AGREEMENT - 0.01, FLOAT)],
)
def test_int8_is_taken_only_where_faster_and_right(
    folder, network, windows, monkeypatch, int8_s, int8_agreement, wanted
):
    def measured(path, runtime, *_):
        if path.name == INT8:
            return exported.Measured(path.name, runtime, int8_s, 0.1, int8_agreement)
        return exported.Measured(path.name, runtime, 1.0, 1e-6, 1.0)

    monkeypatch.setattr(exported, "_measured", measured)
    choose_export(network, folder, windows)
    assert json.loads((folder / CHOICE).read_text())["file"] == wanted
    (folder / CHOICE).unlink()


def test_no_graph_that_disagrees_is_chosen(folder, network, windows):
    other = dataclasses.replace(network, members=network.members[:1])
    with pytest.raises(DataError, match="agrees with the model"):
        choose_export(other, folder, windows, repeats=1)


def test_agreement_is_of_what_both_saw():
    first = torch.tensor([[0.9, 0.2, torch.nan, 0.6], [0.1, 0.8, torch.nan, 0.4]])[None, :, None]
    second = torch.tensor([[0.8, 0.7, torch.nan, 0.6], [0.2, 0.3, torch.nan, 0.4]])[None, :, None]
    assert agreement(first, second) == pytest.approx(2 / 3)
    assert agreement(first[..., 2:3], second[..., 2:3]) == 1.0


def test_errors_are_for_people(folder, network, windows, chips, task, tmp_path):
    loaded = load_exported(folder, RUNTIMES[0])
    cut = dataclasses.replace(
        windows,
        layers={
            spec.key: dataclasses.replace(
                windows.layers[spec.key],
                pixels=windows.layers[spec.key].pixels[..., : 4 // spec.factor],
                valid=windows.layers[spec.key].valid[..., : 4 // spec.factor],
            )
            for spec in network.layers
        },
    )
    with pytest.raises(ContractError, match=r"exported for windows of 8 x 8 pixels, but got 8 x 4"):
        loaded.predict(cut)
    loaded.close()
    with pytest.raises(ContractError, match=r"calibration windows are 8 x 4"):
        export_model(network, tmp_path, WINDOW, [cut])
    with pytest.raises(ContractError, match=r"must be multiples of 2"):
        export_model(network, tmp_path, Shape2d(9, 8))
    features = TimeFeatures(network.layers, statistics_of(chips)).eval()
    ridge = Model((Member(features, ConvHead(features.channels, 3)),), task, None, {})
    with pytest.raises(ContractError, match="encoder time-features is not exported"):
        export_model(ridge, tmp_path, WINDOW)
    with pytest.raises(ProjectError, match=r"runtime 'abacus' is not known.*onnxruntime"):
        load_exported(folder, "abacus")
    with pytest.raises(DataError, match="no exported model at"):
        load_exported(tmp_path)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_other_files_are_refused(folder, tmp_path, runtime):
    torn = tmp_path / "torn.onnx"
    torn.write_bytes((folder / FLOAT).read_bytes()[:1000])
    with pytest.raises(DataError, match=r"torn\.onnx"):
        Exported(torn, runtime)
    proto = onnx.load(folder / FLOAT)
    for text in ("", '{"format": 99}', '{"format": 1}', "no json"):
        onnx.helper.set_model_props(proto, {METADATA_KEY: text})
        onnx.save(proto, torn)
        with pytest.raises(DataError, match="has no card of an exported model"):
            Exported(torn, runtime)
    (tmp_path / CHOICE).write_text("{}")
    with pytest.raises(DataError, match="is damaged"):
        load_exported(tmp_path)


def test_a_card_survives_its_text(folder):
    loaded = load_exported(folder, RUNTIMES[0])
    assert Card.from_text(loaded.card.to_text(), "x") == loaded.card
    loaded.close()


def test_what_is_not_installed_is_named():
    with pytest.raises(StageError, match=r"no_such_runtime is not installed: pip install"):
        runtimes.imported("no_such_runtime")
