"""Numbers of chips and pixels: criteria, scales, answers, scores, corrections."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    mean_absolute_error,
    mean_pinball_loss,
    mean_squared_error,
    r2_score,
)
from torch import nn

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError
from earthloom.sample import Chip, Shape2d
from earthloom.sample.batch import Batch
from earthloom.sample.samples import Listed
from earthloom.sample.target import Counts, PixelValues, SceneValue
from earthloom.tasks.heads import ConvHead, DenseHead
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.planes import planes_of
from earthloom.tasks.registry import TASKS
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.tasks.value_criteria import (
    CRITERIA,
    Absolute,
    Gaussian,
    Huber,
    Quantiles,
    Squared,
)
from earthloom.tasks.value_scale import LINKS, Scale

ALL = [Squared(), Absolute(), Huber(0.7), Gaussian(), Gaussian(0.0), Quantiles(), Quantiles((0.5,))]
BOUNDED = [Gaussian(), Quantiles(), Quantiles((0.05, 0.25, 0.5, 0.75, 0.95))]


class As(DenseHead):
    """A head that hands its features on."""

    name = "as"

    def config(self):
        return {}

    def forward(self, features):
        return features


def chips_with(*targets):
    """Chips in memory that hold targets alone."""
    shapes = [t.values.shape if isinstance(t, PixelValues) else (1, 1) for t in targets]
    pairs = enumerate(zip(targets, shapes, strict=True))
    return Listed([Chip(str(at), Shape2d(*shape), {}, target=each) for at, (each, shape) in pairs])


def _batch(*targets):
    return Batch(tuple(map(str, range(len(targets)))), {}, None, targets=targets)


def _pixels(values, unit="m"):
    return PixelValues(np.asarray(values, np.float32), unit)


def _features(raw, seen=None):
    seen = torch.ones(raw.shape[0], *raw.shape[-2:], dtype=torch.bool) if seen is None else seen
    return Features(raw, seen)


def _learnt(task, targets, features, steps=150, rate=0.1):
    """A 1 x 1 convolution fitted to a batch, by gradient descent."""
    torch.manual_seed(0)
    head = ConvHead(features.pixels.shape[1], task.outputs)
    batch, optimiser = _batch(*targets), torch.optim.Adam(head.parameters(), rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = task.loss(head, features, batch)
        loss.backward()
        optimiser.step()
    return head


# --- criteria ---


@settings(max_examples=30)
@given(st.integers(0, 999), st.integers(1, 4), st.floats(0.1, 30))
def test_quantiles_never_cross_whatever_the_head_gives(seed, half, spread):
    steps = np.linspace(0, 0.5, half + 2)[1:-1]
    criterion = Quantiles((*steps, 0.5, *(1 - steps[::-1])))
    raw = torch.from_numpy(np.random.default_rng(seed).normal(0, spread, (5, criterion.outputs, 3)))
    quantiles = criterion.quantiles(raw)
    assert (quantiles.diff(dim=1) >= 0).all()
    torch.testing.assert_close(quantiles[:, half], raw[:, half])
    torch.testing.assert_close(criterion.value(raw), raw[:, half])


@settings(max_examples=20)
@given(st.integers(0, 999))
def test_the_quantile_loss_is_the_pinball_loss(seed):
    rng = np.random.default_rng(seed)
    criterion, truth = Quantiles((0.1, 0.5, 0.8)), rng.normal(size=40)
    raw = torch.from_numpy(rng.normal(size=(40, 3)))
    found = criterion.losses(raw, torch.from_numpy(truth)).mean()
    quantiles = criterion.quantiles(raw).numpy()
    wanted = np.mean(
        [mean_pinball_loss(truth, quantiles[:, n], alpha=a) for n, a in enumerate((0.1, 0.5, 0.8))]
    )
    assert float(found) == pytest.approx(wanted)


@settings(max_examples=20)
@given(st.integers(0, 999))
def test_the_gaussian_loss_is_that_of_torch_weighted_by_the_variance(seed):
    generator = torch.Generator().manual_seed(seed)
    raw, truth = torch.randn(30, 2, generator=generator), torch.randn(30, generator=generator)
    variance = torch.exp(12 * torch.tanh(raw[:, 1] / 12))
    wanted = nn.functional.gaussian_nll_loss(raw[:, 0], truth, variance, reduction="none")
    torch.testing.assert_close(Gaussian(0.0).losses(raw, truth), wanted)
    torch.testing.assert_close(Gaussian(1.0).losses(raw, truth), wanted * variance)


def test_beta_one_learns_means_as_squared_errors_do():
    """Seitzer et al. 2022: the gradient of the mean does not hang on the variance."""
    raw = torch.tensor([[0.3, 2.0], [0.3, -2.0]], requires_grad=True)
    Gaussian(1.0).losses(raw, torch.zeros(2)).sum().backward()
    torch.testing.assert_close(raw.grad[:, 0], torch.tensor([0.3, 0.3]))


@pytest.mark.parametrize("delta", [0.3, 2.0])
def test_huber_is_squared_near_and_absolute_far(delta):
    raw = torch.linspace(-5, 5, 41)[:, None]
    found, truth = Huber(delta).losses(raw, torch.zeros(41)), raw[:, 0]
    near = truth.abs() <= delta
    torch.testing.assert_close(found[near], 0.5 * truth[near] ** 2)
    torch.testing.assert_close(found[~near], delta * (truth[~near].abs() - delta / 2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Quantiles((0.1, 0.9)), "hold 0.5"),
        (lambda: Quantiles((0.5, 0.1)), "rise"),
        (lambda: Quantiles((0.0, 0.5)), "above 0"),
        (lambda: Huber(0), "above 0, not 0"),
        (lambda: Gaussian(2), "0 to 1, not 2"),
        (lambda: Scale("cube"), "choose from: identity"),
        (lambda: PixelValueTask("m", level=1.5), "above 0 and below 1"),
        (lambda: PixelValueTask("m", criterion=Quantiles(), level=0.5), r"0.25 and 0.75.*0.05"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(make, words):
    with pytest.raises(ContractError, match=words):
        make()


def test_an_interval_has_its_quantiles():
    for level in (0.5, 0.8, 0.9, 0.99):
        assert PixelValueTask("m", criterion=Quantiles.of_interval(level), level=level).has_interval


# --- scales ---


@settings(max_examples=60)
@given(st.sampled_from(sorted(LINKS)), st.integers(0, 999), st.integers(1, 60))
def test_scales_are_those_of_all_values_and_can_be_undone(link, seed, cut):
    values = np.random.default_rng(seed).gamma(2, 30, 61).astype(np.float32)
    holes = values.copy()
    holes[::7] = np.nan
    scale = Scale(link).fitted([holes[:cut], holes[cut:]], "m")
    standard = scale.standardised(torch.from_numpy(holes).double())
    known = standard[~standard.isnan()]
    assert float(known.mean()) == pytest.approx(0, abs=1e-5)
    assert float(known.std(unbiased=False)) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(scale.in_unit(standard).numpy(), holes, rtol=1e-6)
    rising = scale.in_unit(torch.linspace(-20, 20, 200))
    assert (rising.diff() >= 0).all()
    if link != "identity":
        assert (rising >= 0).all()


def test_a_scale_without_spread_or_values():
    assert Scale().fitted([np.full(9, 0.1, np.float32)], "m").std == 1
    with pytest.raises(LabelError, match="no value that is known"):
        Scale().fitted([np.full(3, np.nan, np.float32)], "m")
    with pytest.raises(LabelError, match=r"'log' takes values above 0 on, but one is 0 t"):
        Scale("log").fitted([np.array([1.0, 0.0], np.float32)], "t")


# --- tasks ---


@pytest.mark.parametrize("criterion", ALL, ids=lambda c: f"{c.name}{c.outputs}")
def test_eight_chips_are_learnt_by_heart(criterion):
    rng = np.random.default_rng(1)
    targets = [SceneValue(float(v), "t/ha") for v in rng.normal(50, 10, 8)]
    task = SceneValueTask("t/ha", "yield", criterion).fitted(chips_with(*targets))
    features = _features(torch.eye(8)[:, :, None, None])
    head = _learnt(task, targets, features)
    answer = task.answer(head, features)
    assert answer.shape == (8, 3)
    score = task.score()
    score.update(answer.detach(), _batch(*targets))
    assert score.compute()["r2"] > 0.98
    assert bool(answer[:, 1].isnan().all()) == (not criterion.has_interval)


@pytest.mark.parametrize("criterion", BOUNDED, ids=lambda c: f"{c.name}{c.outputs}")
def test_intervals_hold_their_level_where_the_noise_changes(criterion):
    """Noise of 1 m on the left and of 10 m on the right."""
    rng = np.random.default_rng(2)
    spread = np.where(np.arange(60) < 30, 1.0, 10.0)
    values = [_pixels(100 + spread * rng.normal(size=(60, 60))) for _ in range(2)]
    side = torch.from_numpy(np.broadcast_to(spread > 5, (60, 60)).copy()).float()
    features = _features(torch.stack([1 - side, side])[None])
    task = PixelValueTask("m", criterion=criterion).fitted(chips_with(values[0]))
    head = _learnt(task, values[:1], features)
    with torch.no_grad():
        answer = task.answer(head, features)
    score = task.score()
    score.update(answer, _batch(values[1]))
    found = score.compute()
    assert found["coverage"] == pytest.approx(0.9, abs=0.03)
    width = answer[0, 2] - answer[0, 1]
    assert float(width[:, :30].mean()) == pytest.approx(2 * 1.645, rel=0.15)
    assert float(width[:, 30:].mean()) == pytest.approx(20 * 1.645, rel=0.15)


@pytest.mark.parametrize("criterion", ALL, ids=lambda c: f"{c.name}{c.outputs}")
@pytest.mark.parametrize("link", sorted(LINKS))
def test_answers_are_in_order_in_the_unit_and_nan_where_nothing_was_seen(criterion, link):
    task = PixelValueTask("m", criterion=criterion, scale=Scale(link, 2.0, 3.0))
    raw = torch.randn(2, task.outputs, 6, 5, generator=torch.Generator().manual_seed(3))
    seen = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(4)) > 0.3
    answer = task.answer(As(), _features(raw, seen))
    value, low, high = answer.unbind(dim=1)
    torch.testing.assert_close(value.isnan(), ~seen)
    if criterion.has_interval:
        assert (low[seen] <= value[seen]).all()
        assert (value[seen] <= high[seen]).all()
        assert planes_of(task) == ("value", "low", "high")
    else:
        assert low.isnan().all()
        assert high.isnan().all()
        assert planes_of(task) == ("value",)
    if link != "identity":
        assert (answer[~answer.isnan()] >= 0).all()


@given(st.integers(0, 999), st.sampled_from(ALL))
@settings(deadline=None, max_examples=30)
def test_pixels_that_are_not_known_or_not_seen_teach_nothing(seed, criterion):
    rng = np.random.default_rng(seed)
    task = PixelValueTask("m", criterion=criterion, scale=Scale("identity", 3.0, 2.0))
    raw = torch.from_numpy(rng.normal(size=(2, task.outputs, 5, 4))).float().requires_grad_()
    truth = rng.normal(3, 2, (2, 5, 4)).astype(np.float32)
    known, seen = rng.random((2, 5, 4)) > 0.5, rng.random((2, 5, 4)) > 0.3
    sparse = [_pixels(np.where(k, t, np.nan)) for k, t in zip(known, truth)]
    loss = task.loss(As(), _features(raw, torch.from_numpy(seen)), _batch(*sparse))
    loss.backward()
    used = known & seen
    assert not raw.grad.movedim(1, -1).numpy()[~used].any()
    flat = raw.detach().movedim(1, -1)[torch.from_numpy(used)]
    standard = torch.from_numpy((truth[used] - 3) / 2)
    wanted = criterion.losses(flat, standard).mean() if used.any() else torch.zeros(())
    torch.testing.assert_close(loss.detach(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "targets", [(), (None, None), (_pixels([[np.nan]]),) * 2, (Counts(*np.ones((2, 0))),) * 2]
)
@pytest.mark.parametrize("kind", [PixelValueTask, SceneValueTask])
def test_a_batch_without_truth_has_a_loss_of_nothing_with_a_gradient(kind, targets):
    task, raw = kind("m", criterion=Quantiles()), torch.randn(2, 3, 1, 1, requires_grad=True)
    if kind is SceneValueTask and targets and isinstance(targets[0], PixelValues):
        targets = (SceneValue(math.nan, "m"), None)
    loss = task.loss(As(), _features(raw), _batch(*targets))
    loss.backward()
    assert loss.item() == 0
    assert raw.grad is not None
    assert not raw.grad.any()
    score = task.score()
    score.update(task.answer(As(), _features(raw.detach())), _batch(*targets))
    assert all(math.isnan(each) for each in score.compute().values())


def test_another_unit_or_grid_is_refused():
    task, raw = PixelValueTask("m"), torch.zeros(1, 1, 2, 2)
    with pytest.raises(ContractError, match="in 'm', but a chip's values are in 'ft'"):
        task.loss(As(), _features(raw), _batch(_pixels(np.zeros((2, 2)), "ft")))
    with pytest.raises(ContractError, match=r"\(1, 3, 3\), but the network answers for \(1, 2, 2"):
        task.loss(As(), _features(raw), _batch(_pixels(np.zeros((3, 3)))))
    with pytest.raises(LabelError, match="no value that is known"):
        task.fitted(chips_with(SceneValue(1.0, "m"), None))


@pytest.mark.parametrize("kind", [PixelValueTask, SceneValueTask])
@pytest.mark.parametrize("criterion", ALL, ids=lambda c: f"{c.name}{c.outputs}")
def test_tasks_are_made_again_from_json(kind, criterion):
    task = kind("m", "height", criterion, scale=Scale("log1p", 1.5, 0.2), correction=0.25)
    again = TASKS[task.name].from_config(json.loads(json.dumps(task.config())))
    assert again == task
    assert criterion.name in CRITERIA


# --- scores ---


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9999), st.integers(2, 40), st.integers(1, 5))
def test_scores_equal_those_of_scikit_learn(seed, count, batches):
    rng = np.random.default_rng(seed)
    truth, value = rng.normal(5, 3, (2, count)).astype(np.float32)
    low, high = value - rng.random(count), value + rng.random(count)
    score = SceneValueTask("m", level=0.8).score()
    for part in np.array_split(np.arange(count), batches):
        answer = torch.from_numpy(np.stack([value, low, high], 1)[part].astype(np.float32))
        score.update(answer, _batch(*(SceneValue(float(t), "m") for t in truth[part])))
    found, (low, high) = score.compute(), np.float32((low, high))
    assert found["rmse"] == pytest.approx(mean_squared_error(truth, value) ** 0.5)
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, value))
    assert found["bias"] == pytest.approx(np.float64(value - truth).mean(), abs=1e-5)
    assert found["r2"] == pytest.approx(r2_score(truth, value), rel=1e-6)
    assert found["coverage"] == ((low <= truth) & (truth <= high)).mean()
    assert found["width"] == pytest.approx((high - low).mean(), rel=1e-5)
    losses = [
        mean_pinball_loss(truth, each, alpha=alpha)
        for each, alpha in ((low, 0.1), (value, 0.5), (high, 0.9))
    ]
    assert found["pinball"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["answered"] == 1


def test_scores_equal_those_of_torchmetrics_over_pixels_with_holes():
    from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

    rng = np.random.default_rng(5)
    truth = rng.normal(200, 3, (3, 9, 8)).astype(np.float32)
    answer = np.stack([truth + rng.normal(size=truth.shape), truth - 1, truth + 1], 1)
    truth[rng.random(truth.shape) < 0.4] = np.nan
    answer[:, :, :2] = np.nan
    answer = torch.from_numpy(answer.astype(np.float32))
    score = PixelValueTask("m").score()
    for number in range(3):
        score.update(answer[number : number + 1], _batch(_pixels(truth[number])))
    found, both = score.compute(), ~np.isnan(truth) & ~answer[:, 0].isnan().numpy()
    pair = answer[:, 0].double()[torch.from_numpy(both)], torch.from_numpy(truth[both]).double()
    for name, metric in (("mae", MeanAbsoluteError()), ("r2", R2Score())):
        assert found[name] == pytest.approx(float(metric(*pair)), rel=1e-4)
    assert found["rmse"] == pytest.approx(float(MeanSquaredError(squared=False)(*pair)), rel=1e-5)
    assert found["answered"] == pytest.approx(both.sum() / (~np.isnan(truth)).sum())


def test_r2_of_truths_that_are_all_the_same_is_not_a_number():
    score = SceneValueTask("m").score()
    score.update(torch.tensor([[1.0, math.nan, math.nan]] * 2), _batch(*[SceneValue(2.0, "m")] * 2))
    found = score.compute()
    assert math.isnan(found["r2"])
    assert math.isnan(found["coverage"])
    assert found["bias"] == -1


# --- corrections ---


@pytest.mark.parametrize("criterion", [Squared(), Gaussian(), Quantiles()], ids=lambda c: c.name)
@pytest.mark.parametrize("link", ["identity", "log1p"])
def test_corrected_intervals_hold_their_level(criterion, link):
    """However bad the interval is before: here of a head that knows nothing."""
    rng = np.random.default_rng(6)
    truth = [_pixels(rng.gamma(3, 4, (50, 50))) for _ in range(3)]
    task = PixelValueTask("m", criterion=criterion, scale=Scale(link)).fitted(chips_with(truth[0]))
    raw = torch.from_numpy(rng.normal(0, 0.4, (1, task.outputs, 50, 50))).float()
    answer = task.answer(As(), _features(raw))
    task = task.corrected([(answer, _batch(truth[1]))])
    score = task.score()
    answer = task.answer(As(), _features(raw))
    score.update(answer, _batch(truth[2]))
    assert score.compute()["coverage"] == pytest.approx(0.9, abs=0.02)
    assert (answer[:, 1] <= answer[:, 0]).all()
    assert (answer[:, 0] <= answer[:, 2]).all()
    assert planes_of(task) == ("value", "low", "high")
    with pytest.raises(ContractError, match="corrected already"):
        task.corrected([])


def test_corrections_take_enough_truths():
    task, value = SceneValueTask("m"), SceneValue(1.0, "m")
    answer = torch.tensor([[1.0, math.nan, math.nan]])
    with pytest.raises(LabelError, match="take 9 known ones or more to correct them by"):
        task.corrected([(answer, _batch(value))] * 8)
    assert task.corrected([(answer, _batch(value))] * 9).correction == 0


# --- weights ---


def _weighed(task, raw, truth, weight=None, seen=None):
    """Loss, its slope and the metrics of numbers (N,) in a column of pixels."""
    target = _pixels(truth.reshape(-1, 1))
    weight = None if weight is None else torch.tensor(weight).float().reshape(1, -1, 1)
    batch = Batch(("a",), {}, None, weight=weight, targets=(target,))
    raw = raw.clone().requires_grad_()
    features = _features(raw.T[None, :, :, None])
    loss = task.loss(As(), features, batch)
    loss.backward()
    score = task.score()
    score.update(task.answer(As(), features).detach(), batch)
    corrected = None
    if task.correction is None and len(truth) > 30:
        answer = task.answer(As(), features).detach()
        corrected = task.corrected([(answer, batch)]).correction
    return loss.detach(), raw.grad, score.compute(), corrected


@pytest.mark.parametrize("criterion", ALL, ids=lambda c: f"{c.name}{c.outputs}")
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 9999), size=st.sampled_from([5, 60]))
def test_a_pixel_of_weight_2_is_the_same_pixel_twice(criterion, seed, size):
    rng = np.random.default_rng(seed)
    task = PixelValueTask("m", criterion=criterion)
    times = rng.permutation(np.resize([0, 1, 2, 3, 1], size))
    raw = torch.from_numpy(rng.normal(size=(size, task.outputs)).astype(np.float32))
    truth = rng.normal(size=size).astype(np.float32)
    often = np.repeat(np.arange(size), times)
    loss, slope, found, correction = _weighed(task, raw, truth, times)
    same, single, wanted, other = _weighed(task, raw[often], truth[often])
    torch.testing.assert_close(loss, same)
    torch.testing.assert_close(
        slope, torch.zeros_like(slope).index_add(0, torch.tensor(often), single)
    )
    assert found == pytest.approx(wanted, nan_ok=True)
    if size == 60:
        assert correction == pytest.approx(other)


def test_chips_count_as_the_mean_of_their_weights():
    targets = [SceneValue(value, "t") for value in (1.0, 3.0, 8.0, 5.0)]
    raw, times = torch.tensor([0.5, 4.0, 2.0, 5.0]), [2, 1, 0, 3]
    weight = torch.tensor(times)[:, None, None] * torch.tensor([[0.5, 1.5]])
    task = SceneValueTask("t", criterion=Squared())

    def told(which, weight=None):
        batch = Batch(("a",) * len(which), {}, None, weight=weight)
        batch = replace(batch, targets=tuple(targets[at] for at in which))
        features = _features(raw[which][:, None, None, None])
        score = task.score()
        score.update(task.answer(As(), features), batch)
        return float(task.loss(As(), features, batch)), score.compute()

    (loss, found), (same, wanted) = told([0, 1, 2, 3], weight), told([0, 0, 1, 3, 3, 3])
    assert loss == pytest.approx(same)
    assert found == pytest.approx(wanted, nan_ok=True)


def test_values_of_weight_0_are_in_no_mean():
    label, weight = np.ones((1, 3), np.uint8), np.array([[1, 0, 2]], np.float32)
    chip = Chip("a", Shape2d(1, 3), {}, label, weight=weight, target=_pixels([[1, 100, 3]]))
    assert PixelValueTask("m").fitted(Listed([chip])).scale.mean == 2
    lost = replace(chip, weight=np.zeros_like(weight), target=SceneValue(100.0, "m"))
    kept = replace(chip, target=SceneValue(2.0, "m"))
    assert SceneValueTask("m").fitted(Listed([lost, kept])).scale.mean == 2
