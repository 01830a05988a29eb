"""Rows of features, and models made of them, task by task."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.encoders import Encoder, Features, mask_on_base_grid, on_base_grid
from earthloom.encoders.base import Level, seen_in
from earthloom.encoders.time_features import TimeFeatures
from earthloom.errors import ContractError, LabelError
from earthloom.fit import load_model, save_model
from earthloom.fit.features import features_of
from earthloom.fit.shallow import SHALLOW, Forest, Kind, Linear, Neighbours, Ridge, Rows, gather
from earthloom.fit.shallow.pixels import PER_CHIP, PER_CHIP_AND_CLASS
from earthloom.fit.shallow.rows import common_limit, folds_of, thinned
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed
from earthloom.sample.target import PixelValues, SceneClasses, SceneValue
from earthloom.tasks import PixelClasses
from earthloom.tasks.linear import LinearHead
from earthloom.tasks.machine import MachineHead
from earthloom.tasks.neighbours import NeighboursHead
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.registry import HEADS, TASKS
from earthloom.tasks.scene_classes import SceneClass, SceneLabels
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.tasks.value_criteria import Gaussian

SPEC = LayerSpec("optical", 10, ("red", "nir"), "1", ("1",), (660.0, 840.0))
SIZE = Shape2d(8, 8)
NAMES = ("bare", "grass", "forest")

PIXELS = PixelClasses((1, 2, 3), NAMES, ((0, 0, 0),) * 3)
SCENES = SceneClass((1, 2, 3), NAMES)
LABELS = SceneLabels((1, 2, 3), NAMES)
VALUE = SceneValueTask("t/ha")
VALUES = PixelValueTask("m")
TASKS_HERE = (PIXELS, SCENES, LABELS, VALUE, VALUES)


class _Halved(Encoder):
    """The mean of two by two pixels, with a vector of its own and one image more."""

    name = "halved"
    radius, stride, channels, scene_channels = 1, 2, 2, 3

    def config(self):
        return {}

    def forward(self, batch):
        (layer,) = batch.layers.values()
        pixels = torch.nn.functional.avg_pool2d(layer.pixels[:, 0].nan_to_num(), 2)
        seen = seen_in(self.layers, batch)[:, ::2, ::2]
        vector = torch.cat([pixels.mean((2, 3)), pixels[:, :1].amax((2, 3))], 1)
        return Features(pixels, seen, (pixels * 2,), vector, 2)

    @property
    def pyramid(self):
        return (Level(2, 2),)


def _chip(number, answer):
    """A chip of one cover, as bright in the near infrared as its class says."""
    rng = np.random.default_rng(number)
    cover = number % 3
    pixels = rng.normal(0.2, 0.02, (1, 2, *SIZE)).astype(np.float32)
    pixels[:, 1] += 0.1 * cover
    layer = Layer(SPEC, pixels, np.ones((1, *SIZE), bool), np.zeros(1, np.int32))
    label, target = answer(cover, pixels)
    return Chip(
        f"chip-{number}", SIZE, {SPEC.key: layer}, label, f"g{number // 3 % 6}", target=target
    )


ANSWERS = {
    PIXELS.name: lambda cover, _: (np.full(SIZE, cover + 1, np.uint8), None),
    SCENES.name: lambda cover, _: (None, SceneClasses((cover + 1,))),
    LABELS.name: lambda cover, _: (None, SceneClasses(tuple(range(1, cover + 2)))),
    VALUE.name: lambda cover, _: (None, SceneValue(20.0 + 5 * cover, "t/ha")),
    VALUES.name: lambda _, pixels: (None, PixelValues(100 * pixels[0, 1], "m")),
}


def _samples(task, count=36, first=0):
    return Listed(
        tuple(_chip(number, ANSWERS[task.name]) for number in range(first, first + count))
    )


def _encoder(samples):
    return TimeFeatures(tuple(samples.specs.values()), statistics_of(samples))


@pytest.fixture
def registered(monkeypatch):
    """Every head and task that is used here, known to saved models."""
    for head in (LinearHead, MachineHead, NeighboursHead):
        monkeypatch.setitem(HEADS, head.name, head)
    for task in (SceneClass, SceneLabels):
        monkeypatch.setitem(TASKS, task.name, task)


QUICK = {"ridge": Ridge(random_features=16), "forest": Forest(trees=20)}
PAIRS = [
    (name, task) for name, each in SHALLOW.items() for task in TASKS_HERE if each().serves(task)
]


@pytest.mark.parametrize(("name", "task"), PAIRS, ids=lambda v: v if isinstance(v, str) else v.name)
def test_fitted_scored_saved_and_loaded(name, task, registered, tmp_path):
    train, test = _samples(task), _samples(task, 12, first=100)
    adaptation = QUICK.get(name, SHALLOW[name]())
    model = adaptation.fit(_encoder(train), train, task, seed=0)
    batch = collate([test[number] for number in range(12)])
    answer = model.answer(batch)
    score = model.task.score()
    score.update(answer, batch)
    assert score.compute()[task.main] > 0.8
    assert model.record["adaptation"]["name"] == name
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert torch.equal(loaded.answer(batch).nan_to_num(-1), answer.nan_to_num(-1))
    assert loaded.record == model.record


def test_every_task_is_served_as_the_table_says():
    served = {name: {task.name for task in TASKS_HERE if each().serves(task)}
              for name, each in SHALLOW.items()}  # fmt: skip
    everything = {task.name for task in TASKS_HERE}
    classes, values = {PIXELS.name, SCENES.name}, {VALUE.name, VALUES.name}
    assert served["ridge"] == served["knn"] == served["forest"] == everything
    assert served["linear"] == classes | {LABELS.name}
    assert served["boosted"] == served["svm"] == classes | values


def test_a_task_of_several_outputs_is_refused_by_name():
    task = SceneValueTask("t/ha", criterion=Gaussian())
    samples = _samples(VALUE)
    assert not Ridge().serves(task)
    with pytest.raises(ContractError, match=r"'ridge' cannot be fitted.*'scene-value' with 2"):
        Ridge().fit(_encoder(samples), samples, task, 0)


def test_rows_of_chips_are_their_vectors_and_answers():
    samples = _samples(SCENES)
    encoder = _encoder(samples)
    rows = gather(encoder, samples, SCENES, seed=0)
    with torch.inference_mode():
        wanted = encoder(collate(list(samples.chips))).scene()
    torch.testing.assert_close(rows.features, wanted)
    assert rows.answers.tolist() == [number % 3 for number in range(36)]
    assert list(rows.groups) == samples.groups
    assert rows.counts == dict.fromkeys(NAMES, 12)


def test_values_are_in_standard_deviations_of_the_fitted_task():
    samples = _samples(VALUE)
    rows = gather(_encoder(samples), samples, VALUE.fitted(samples), seed=0)
    assert rows.kind is Kind.VALUES
    assert float(rows.answers.mean()) == pytest.approx(0, abs=1e-6)
    assert float(rows.answers.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_pixels_of_a_chip_are_bounded():
    for task, most in ((PIXELS, PER_CHIP_AND_CLASS), (VALUES.fitted(_samples(VALUES)), PER_CHIP)):
        samples = _samples(task, 6)
        rows = gather(_encoder(samples), samples, task, seed=0)
        assert len(rows) == 6 * min(most, 64)


def test_between_coarse_pixels_features_are_those_of_the_base_grid():
    samples = _samples(VALUES, 3)
    encoder = _Halved((SPEC,), statistics_of(samples)).eval()
    rows = gather(encoder, samples, VALUES, seed=0)
    encoded = encoder(collate(list(samples.chips)))
    whole = on_base_grid(encoded.pixels, SIZE)
    assert mask_on_base_grid(encoded.seen, SIZE).all()
    # All 64 pixels of a chip are taken, in their order.
    expected = whole.permute(0, 2, 3, 1).reshape(-1, 2)
    torch.testing.assert_close(rows.features, expected)


def test_features_from_a_cache_are_the_same(tmp_path):
    for task in (PIXELS, SCENES):
        samples = _samples(task)
        encoder = _Halved((SPEC,), statistics_of(samples)).eval()
        cache = features_of(encoder, samples, "digest", tmp_path, part=5, pyramid=True)
        found, expected = (gather(encoder, samples, task, 0, cache=c) for c in (cache, None))
        torch.testing.assert_close(found.features, expected.features)
        assert torch.equal(found.answers, expected.answers)
        kept = cache.of([7, 0])
        with torch.inference_mode():
            wanted = encoder(collate([samples[7], samples[0]]))
        assert kept.stride == 2
        torch.testing.assert_close(kept.vector, wanted.vector)
        torch.testing.assert_close(kept.pyramid[0], wanted.pyramid[0])


def test_chips_never_seen_or_without_an_answer_are_left_out():
    samples = _samples(SCENES)
    blind = samples[0]
    layer = replace(
        blind.layers[SPEC.key],
        pixels=np.full((1, 2, *SIZE), np.nan, np.float32),
        valid=np.zeros((1, *SIZE), bool),
    )
    others = (replace(blind, layers={SPEC.key: layer}), replace(samples[1], target=None))
    more = Listed((*others, *samples.chips))
    assert len(gather(_encoder(samples), more, SCENES, 0)) == len(samples)


@pytest.mark.parametrize("task", [SCENES, PIXELS], ids=lambda task: task.name)
def test_one_class_is_refused_by_name(task):
    samples = Listed(_samples(task).chips[::3])
    with pytest.raises(LabelError, match=r"two classes.*labels of: bare;.*bare, grass, forest"):
        gather(_encoder(samples), samples, task, 0)


def test_nothing_to_learn_from_is_refused():
    bare = Listed(tuple(replace(c, target=None) for c in _samples(SCENES).chips))
    encoder = _encoder(bare)
    for task in (SCENES, LABELS, VALUE, VALUES):
        with pytest.raises(LabelError, match="36 training chips"):
            gather(encoder, bare, task, 0)
    alike = Listed(_samples(LABELS).chips[::3])
    with pytest.raises(LabelError, match="some chips show and others do not"):
        gather(encoder, alike, LABELS, 0)


def test_another_unit_is_refused():
    samples = _samples(VALUES)
    with pytest.raises(ContractError, match="values in 'm'; the task is in 'ft'"):
        gather(_encoder(samples), samples, PixelValueTask("ft"), 0)


def test_weight_0_is_no_row_and_weight_2_stands_for_two():
    samples = _samples(PIXELS)
    weight = np.ones(SIZE, np.float32)
    weight[:4] = 0
    weight[4] = 2
    weighted = Listed(tuple(replace(chip, weight=weight) for chip in samples.chips))
    rows = gather(_encoder(samples), weighted, PIXELS, 0).counted()
    assert rows.repeats.min() >= 1
    assert rows.repeats.max() == 2
    assert float(rows.importance.sum()) == pytest.approx(float(rows.repeats.sum()))


def _weighed(samples, weights):
    """The same chips, whose pixels have these weights on average, but not each."""
    plane = np.linspace(0.5, 1.5, SIZE.rows * SIZE.cols, dtype=np.float32).reshape(SIZE)
    pairs = zip(samples.chips, weights, strict=True)
    return Listed(tuple(replace(chip, weight=np.float32(w) * plane) for chip, w in pairs))


@pytest.mark.parametrize(
    ("name", "task"),
    [(n, t) for n, t in PAIRS if n in ("ridge", "knn", "linear") and t in (SCENES, LABELS, VALUE)],
    ids=lambda v: v if isinstance(v, str) else v.name,
)
def test_a_chip_of_weight_2_is_the_same_chip_twice(name, task):
    adaptation = QUICK.get(name, SHALLOW[name]())
    samples = _samples(task)
    times = np.arange(len(samples)) // 3 % 3
    encoder = _encoder(samples)
    repeated = Listed(tuple(c for c, n in zip(samples.chips, times, strict=True) for _ in range(n)))
    weighed = _weighed(samples, times)
    batch = collate(list(_samples(task, 12, first=100).chips))
    found = adaptation.fit(encoder, weighed, task, 0)
    expected = adaptation.fit(encoder, repeated, task, 0)
    close = {"atol": 0.02 if name == "linear" else 2e-3, "rtol": 1e-3, "equal_nan": True}
    torch.testing.assert_close(found.answer(batch), expected.answer(batch), **close)
    assert found.record["rows"] == int((times > 0).sum())


def test_weighed_values_are_fitted_as_by_scikit_learn():
    """Weights that are no whole numbers, a network's features, ridge and trees."""
    from sklearn import ensemble, linear_model

    samples = _samples(VALUE)
    weights = np.random.default_rng(0).uniform(0.2, 3, len(samples))
    encoder, task = _encoder(samples), VALUE.fitted(samples)
    rows = gather(encoder, _weighed(samples, weights), task, 0)
    assert rows.repeats.numpy() == pytest.approx(weights, rel=1e-5)
    x, y, each = rows.features.numpy(), rows.answers.numpy(), rows.repeats.numpy()
    batch = collate(list(samples.chips))
    with torch.inference_mode():
        answers = {
            name: task.scale.standardised(adapted.fit_rows(rows, encoder, task, 0).answer(batch))
            for name, adapted in {
                "forest": Forest(trees=20),
                "ridge": Ridge(random_features=0),
            }.items()
        }
        solved, solution = Ridge(random_features=0).solved(rows, 0)
        expanded = solved.expand(rows.features).double().numpy()
    trees = ensemble.RandomForestRegressor(
        20, max_features=1 / 3, min_samples_leaf=2, random_state=0
    ).fit(x, y, sample_weight=each)
    np.testing.assert_allclose(answers["forest"][:, 0], trees.predict(x), atol=1e-5)
    mean = np.average(y, weights=each)
    line = linear_model.Ridge(solution["penalty"] * len(y), fit_intercept=False)
    line.fit(expanded, y - mean, sample_weight=each / each.mean())
    np.testing.assert_allclose(answers["ridge"][:, 0], line.predict(expanded) + mean, atol=1e-3)


def test_a_value_of_weight_0_is_not_drawn():
    samples = _samples(VALUES, 3)
    weight = np.zeros(SIZE, np.float32)
    weight[0] = 1
    some = Listed(tuple(replace(chip, weight=weight) for chip in samples.chips))
    assert len(gather(_encoder(samples), some, VALUES, 0)) == 3 * SIZE.cols


def test_the_encoder_stays_as_it_is():
    samples = _samples(SCENES)
    encoder = _encoder(samples)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model = Linear().fit(encoder, samples, SCENES, 0)
    assert model.members[0].encoder is encoder
    assert not Linear().trains_encoder
    assert all(torch.equal(each, before[name]) for name, each in encoder.state_dict().items())


def test_candidates_share_rows():
    samples = _samples(SCENES)
    encoder = _encoder(samples)
    rows = gather(encoder, samples, SCENES, 0)
    for each in Neighbours().candidates(2):
        alone = each.fit(encoder, samples, SCENES, 0).members[0].head.state_dict()
        shared = each.fit_rows(rows, encoder, SCENES, 0).members[0].head.state_dict()
        assert all(torch.equal(alone[name], shared[name]) for name in alone)


def _rows(kind, answers):
    count = len(answers)
    features = torch.arange(float(count))[:, None]
    weights = torch.ones(count, dtype=torch.float64)
    return Rows(kind, features, answers, weights, [str(n % 7) for n in range(count)], 3)


def test_thinning_keeps_rare_classes_and_what_was_left_out_counts():
    rows = _rows(Kind.CLASSES, torch.tensor([0] * 90 + [1] * 5 + [2] * 30))
    fewer = thinned(rows, 45, seed=0)
    assert torch.bincount(fewer.answers).tolist() == [20, 5, 20]
    total = [float(fewer.weights[fewer.answers == k].sum()) for k in range(3)]
    assert total == pytest.approx([90, 5, 30])
    assert len(thinned(_rows(Kind.VALUES, torch.arange(90.0)), 45, 0)) == 45
    assert thinned(rows, 125, 0) is rows


def test_folds_hold_out_whole_groups():
    rows = _rows(Kind.VALUES, torch.arange(90.0))
    folds = folds_of(rows, 3, seed=0)
    assert set(folds.tolist()) == {0, 1, 2}
    by_group = {}
    for group, fold in zip(rows.groups, folds.tolist(), strict=True):
        assert by_group.setdefault(group, fold) == fold
    alone = replace(rows, groups=["one"] * 90)
    assert np.bincount(folds_of(alone, 3, 0)).tolist() == [30, 30, 30]


@pytest.mark.parametrize(("sizes", "most"), [([5, 100, 3], 20), ([10, 10], 7), ([1, 2], 9)])
def test_common_limit_is_the_largest_that_fits(sizes, most):
    limit = common_limit(sizes, most)

    def total(at):
        return sum(min(size, at) for size in sizes)

    assert total(limit) <= most
    assert total(limit + 1) > most or limit >= max(sizes)
