"""A predictor under any plan says what the model says, whatever stands beside a window."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.encoders.time_features import TimeFeatures
from earthloom.encoders.unet import UNet
from earthloom.errors import ContractError, ProjectError
from earthloom.fit import Model
from earthloom.fit.flat import (
    FlatModel,
    MaskedInside,
    each_tensor,
    in_pieces,
    taken,
    tensors_of,
    windows_in,
)
from earthloom.fit.lanes import Lanes, lanes_here
from earthloom.fit.model import Member
from earthloom.fit.plan import PRECISIONS, Plan, is_network
from earthloom.fit.predictor import Predictor
from earthloom.fit.statistics import statistics_of
from earthloom.fit.trial import Wish, choose_plan, largest_difference
from earthloom.sample.batch import collate
from earthloom.tasks.heads import ConvHead

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def _network(chips, task, members=2):
    layers, statistics = tuple(chips.specs.values()), statistics_of(chips)
    made = []
    for number in range(members):
        torch.manual_seed(number)
        encoder = UNet(layers, statistics, width=8, levels=1).eval()
        # Wide logits, as those of a trained network, so that a difference shows.
        head = ConvHead(8, len(task.codes)).eval()
        torch.nn.init.normal_(head.layer.weight, std=1.0)
        made.append(Member(encoder, head))
    return Model(tuple(made), task, None, {})


_KEPT = {}
"""The network and the batch for laws: hypothesis prints what it is given, and these are long."""


@pytest.fixture(scope="module", autouse=True)
def _kept(network, batch):
    _KEPT.update(network=network, batch=batch)


@pytest.fixture(scope="module")
def network(chips, task):
    return _network(chips, task)


@pytest.fixture(scope="module")
def closed_form(chips, task):
    encoder = TimeFeatures(tuple(chips.specs.values()), statistics_of(chips)).eval()
    return Model((Member(encoder, ConvHead(encoder.channels, 3).eval()),), task, None, {})


@pytest.fixture(scope="module")
def batch(chips):
    windows = collate(chips.chips[:5])
    for layer in windows.layers.values():
        layer.pixels[1, :, :, :3] = torch.nan  # a part of one window that nothing saw
        layer.valid[1, :, :3] = False
    return windows


def _predicted(model, plan, batch, lanes=1):
    predictor = Predictor(model, plan, lanes)
    try:
        return predictor.predict(batch)
    finally:
        predictor.close()


def test_the_flat_network_is_the_model(network, batch):
    wanted = network.probabilities(batch)
    assert wanted.isnan().any()
    flat, masked = FlatModel(network), MaskedInside(network)
    tensors = tensors_of(network.layers, batch)
    with torch.inference_mode():
        torch.testing.assert_close(flat(*tensors), wanted, equal_nan=True, rtol=0, atol=1e-6)
        torch.testing.assert_close(masked(*tensors[::3]), wanted, equal_nan=True, rtol=0, atol=1e-6)


def test_tensors_of_refuses_what_it_would_lose(network, batch):
    key = network.layers[0].key
    layers = dict(batch.layers)
    dated = torch.ones(layers[key].days.shape, dtype=torch.bool)
    layers[key] = dataclasses.replace(layers[key], dated=dated)
    with pytest.raises(ContractError, match="lacks sensors, dates or bands"):
        tensors_of(network.layers, dataclasses.replace(batch, layers=layers))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_eager_plan_stays_within_its_tolerance(network, batch, precision, channels_last):
    plan = Plan(precision=precision, channels_last=channels_last, batch=2)
    found, wanted = _predicted(network, plan, batch), network.probabilities(batch)
    assert found.dtype == torch.float32
    assert largest_difference(found, wanted) <= PRECISIONS[precision].tolerance
    if precision == "bf16":
        assert largest_difference(found, wanted) > 1e-5, "bf16 was not used"


@settings(max_examples=15, deadline=None, database=None, report_multiple_bugs=False)
@given(
    lanes=st.integers(1, 3),
    size=st.integers(1, 4),
    order=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    channels_last=st.booleans(),
)
def test_bytes_hang_neither_on_lanes_nor_on_neighbours(lanes, size, order, channels_last):
    network, batch = _KEPT["network"], _KEPT["batch"]
    plan = Plan(channels_last=channels_last, batch=size)
    wanted = _predicted(network, plan, batch)[order]
    found = _predicted(network, plan, taken(batch, torch.tensor(order)), lanes)
    assert torch.equal(found.nan_to_num(-1), wanted.nan_to_num(-1))


def test_lanes_leave_the_threads_of_others_alone(network, batch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        _predicted(network, Plan(), batch, lanes=2)
        assert torch.get_num_threads() == lanes_here() == 2
    finally:
        torch.set_num_threads(before)


def test_bytes_do_not_hang_on_the_cores_that_torch_would_use(network, batch):
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert _threads_inside(Lanes(threads)) == {1}
            assert torch.get_num_threads() == threads
            found.append(_predicted(network, Plan(channels_last=True), batch, threads))
    finally:
        torch.set_num_threads(before)
    assert len({each.numpy().tobytes() for each in found}) == 1


def _threads_inside(lanes):
    work = [lambda: torch.tensor([torch.get_num_threads()])] * 8
    found = lanes.begin(work).result()
    lanes.close()
    return set(found.tolist())


def test_a_mistake_in_a_lane_is_told(network, batch):
    cut = dataclasses.replace(batch, layers={})
    predictor = Predictor(network, Plan())
    with pytest.raises(StopIteration):
        windows_in(cut)
    key = network.layers[0].key
    fewer = dataclasses.replace(batch, layers={key: batch.layers[key]})
    with pytest.raises(KeyError):
        predictor.predict(fewer)
    predictor.close()


def test_compiled_code_is_one_graph_and_takes_any_number_of_windows(network, batch, monkeypatch):
    """Traced whole; the C++ that torch makes of it takes a minute and is left to the benchmark."""
    real = torch.compile

    def traced(module, dynamic, mode):
        return real(module, dynamic=dynamic, backend="aot_eager", fullgraph=True)

    monkeypatch.setattr(torch, "compile", traced)
    found = _predicted(network, Plan(compiled=True, batch=2), batch)  # five windows: one filled up
    assert largest_difference(found, network.probabilities(batch)) <= PRECISIONS["fp32"].tolerance


def test_a_closed_form_model_is_left_as_it_is(closed_form, batch):
    assert not is_network(closed_form)
    chosen = choose_plan(closed_form, Wish(device="cpu", precision="bf16"), batch)
    assert chosen.plan == Plan()
    assert chosen.notes == ("no network in the model: evaluated in fp32 as it stands",)
    found = _predicted(closed_form, chosen.plan, batch, lanes=2)
    assert largest_difference(found, closed_form.probabilities(batch)) < 1e-6
    with pytest.raises(ContractError, match="without a network"):
        Predictor(closed_form, Plan(precision="bf16"))


def test_bf16_is_tried_only_where_the_processor_has_it(network, batch):
    wish = Wish(device="cpu", layout="channels-last", compiled="no")
    without = choose_plan(network, wish, batch, flags=frozenset({"avx512f"}))
    assert without.plan == Plan(channels_last=True)
    assert without.trials == ()
    assert without.notes[0].startswith("bf16 not tried")
    having = choose_plan(network, wish, batch, flags=frozenset({"amx_bf16"}))
    assert [trial.plan.precision for trial in having.trials] == ["fp32", "bf16"]
    assert having.plan in [trial.plan for trial in having.trials]
    assert all(trial.seconds > 0 for trial in having.trials)


def test_a_wish_is_kept_without_timing(network, batch):
    wish = Wish("cpu", "bf16", "contiguous", "no", batch=3)
    chosen = choose_plan(network, wish, batch)
    assert (chosen.plan, chosen.trials) == (Plan(precision="bf16", batch=3), ())


def test_where_nothing_compiles_the_plan_is_eager_and_says_why(network, batch, monkeypatch):
    def compile(module, **_):
        def run(*tensors):
            raise RuntimeError("no working C++ compiler was found\nand more lines")

        return run

    monkeypatch.setattr(torch, "compile", compile)
    wish = Wish("cpu", "fp32", "contiguous", "yes")
    chosen = choose_plan(network, wish, batch)
    assert chosen.plan == Plan()
    assert chosen.notes == ("not compiled: no working C++ compiler was found",)


def test_compiling_is_not_tried_for_little_work(network, batch, monkeypatch):
    monkeypatch.setattr(torch, "compile", None)
    chosen = choose_plan(network, Wish("cpu", "fp32", "contiguous"), batch, windows=10)
    assert not chosen.plan.compiled
    assert [note for note in chosen.notes if note.startswith("not compiled: 0 s of work")]
    unknown = choose_plan(network, Wish("cpu", "fp32", "contiguous"), batch)
    assert unknown.trials == ()
    assert unknown.notes == ("not compiled: nobody said how many windows there are",)


def test_a_plan_too_far_off_is_not_taken(network, batch, monkeypatch):
    strict = dataclasses.replace(PRECISIONS["bf16"], tolerance=1e-9)
    monkeypatch.setitem(PRECISIONS, "bf16", strict)
    monkeypatch.setattr("earthloom.fit.trial.FASTER", 1e9)
    wish = Wish("cpu", layout="contiguous", compiled="no")
    chosen = choose_plan(network, wish, batch, flags=frozenset({"amx_bf16"}))
    assert chosen.plan.precision == "fp32"
    assert chosen.notes[0].startswith("bf16 not taken: a probability differed by")


def test_plans_survive_json_and_name_what_they_do_not_know():
    plan = Plan(precision="bf16", channels_last=True, batch=4)
    assert Plan.from_json(plan.to_json()) == plan
    with pytest.raises(ProjectError, match=r"'fp16' cannot be had on device 'cpu'.*fp32, bf16"):
        Plan(precision="fp16")
    with pytest.raises(ProjectError, match=r"device 'tpu' is not known.*cpu, cuda"):
        Plan(device="tpu")
    with pytest.raises(ProjectError, match=r"precision 'int4' is not known.*auto, fp32"):
        Wish(precision="int4")
    with pytest.raises(ProjectError, match="one window or more, not 0"):
        Plan(batch=0)


@GPU
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_a_gpu_says_what_the_processor_says(network, batch, precision, compiled):
    plan = Plan("cuda", precision, channels_last=True, compiled=compiled, batch=2)
    predictor = Predictor(network, plan)
    several = [predictor.begin(batch) for _ in range(3)]
    wanted = network.probabilities(batch)
    found = [each.result() for each in several]
    assert largest_difference(found[0], wanted) <= PRECISIONS[precision].tolerance
    assert all(torch.equal(each.nan_to_num(-1), found[0].nan_to_num(-1)) for each in found)


def test_normalisation_by_training_is_folded_away(chips, task, batch):
    layers, statistics = tuple(chips.specs.values()), statistics_of(chips)
    torch.manual_seed(0)
    encoder = UNet(layers, statistics, width=8, levels=1, norm="batch")
    for part in encoder.modules():
        if isinstance(part, torch.nn.BatchNorm2d):  # as training would leave it
            torch.nn.init.uniform_(part.running_var, 0.5, 2.0)
            for tensor in (part.running_mean, part.weight, part.bias):
                torch.nn.init.normal_(tensor)
    model = Model((Member(encoder.eval(), ConvHead(8, 3).eval()),), task, None, {})
    flat = FlatModel(model)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in flat.modules())
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in encoder.modules())
    found = _predicted(model, Plan(), batch)
    assert largest_difference(found, model.probabilities(batch)) < 1e-5


def test_a_predictor_looks_as_far_as_its_model(network, batch):
    predictor = Predictor(network, Plan(), lanes=2)
    assert (predictor.layers, predictor.radius) == (network.layers, network.radius)
    assert (predictor.alignment, predictor.is_local, predictor.planes) == (2, False, 3)
    assert (predictor.lanes, predictor.ahead) == (2, 4)
    predictor.check({layer.key: layer for layer in network.layers})
    with pytest.raises(ContractError, match="expects layer"):
        predictor.check({})
    found = predictor.predict(batch)
    found += 1  # the caller may write over it
    assert not found.is_inference()
    predictor.close()


@given(count=st.integers(1, 5), size=st.integers(1, 6))
def test_pieces_hold_every_window_once_with_all_that_belongs_to_it(count, size):
    number = torch.arange(5.0)
    batch = dataclasses.replace(
        each_tensor(_KEPT["batch"], lambda tensor: tensor[:count]),
        mean=number[:count, None],
        covariance=number[:count, None, None],
        label=number[:count, None, None],
    )
    found = []
    for piece, counts in in_pieces(batch, size):
        assert windows_in(piece) == size
        assert piece.mean.flatten().tolist() == piece.covariance.flatten().tolist()
        assert piece.mean.flatten().tolist() == piece.label.flatten().tolist()
        found += piece.mean.flatten()[:counts].tolist()
    assert found == number[:count].tolist()
