"""Each head against the library that fitted it, a slow oracle, or a law."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR

from earthloom.fit import boosted, forest
from earthloom.fit.ridge import solve_ridge_values
from earthloom.fit.shallow import SHALLOW, Boosted, Kind, Linear, Machine, Neighbours, Ridge, Rows
from earthloom.fit.shallow.linear import fit_logistic
from earthloom.fit.shallow.machine import head_of as machine_head
from earthloom.fit.shallow.neighbours import fit_neighbours
from earthloom.tasks.linear import LinearHead

CLASSES = 4
QUICK = {
    "linear": Linear(),
    "ridge": Ridge(random_features=32),
    "knn": Neighbours(),
    "forest": SHALLOW["forest"](trees=30),
    "boosted": Boosted(rounds=30),
    "svm": Machine(),
}
SERVED = [(name, kind) for name, each in QUICK.items() for kind in Kind if kind in each.kinds]
ALL = pytest.mark.parametrize(
    ("name", "kind"), SERVED, ids=lambda value: getattr(value, "value", value)
)


def _rows(kind=Kind.CLASSES, count=240, width=6, seed=0, groups=12):
    """Rows of classes that overlap somewhat; labels and values that hang on two features."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, CLASSES, (count,), generator=generator)
    features = torch.randn(count, width, generator=generator)
    features[torch.arange(count), classes] += 2.5
    answers = {
        Kind.CLASSES: classes,
        Kind.LABELS: features[:, :3] > 0.7,
        Kind.VALUES: (features[:, 0] + 0.5 * features[:, 1] ** 2).double(),
    }[kind]
    outputs = {Kind.CLASSES: CLASSES, Kind.LABELS: 3, Kind.VALUES: 1}[kind]
    named = [str(number % groups) for number in range(count)]
    return Rows(kind, features, answers, torch.ones(count, dtype=torch.float64), named, outputs)


def _told(head, features):
    """(N, K): what a head gives for rows (N, F)."""
    return head(features.T[None, :, :, None])[0, :, :, 0].T


def _new(kind=Kind.CLASSES, seed=99):
    return _rows(kind, 300, seed=seed)


def _skill(kind, head, rows):
    """Share that is right, or of the variance that is explained."""
    told = _told(head, rows.features)
    if kind is Kind.CLASSES:
        return float((told.argmax(1) == rows.answers).double().mean())
    if kind is Kind.LABELS:
        return float(((told > 0) == rows.answers).double().mean())
    rest = (told[:, 0] - rows.answers).square().mean()
    return float(1 - rest / rows.answers.var(correction=0))


@ALL
def test_learns_what_can_be_learnt(name, kind):
    head, _ = QUICK[name].solved(_rows(kind), seed=0)
    assert _skill(kind, head, _new(kind)) > (0.75 if kind is not Kind.VALUES else 0.5)


@ALL
def test_shuffled_answers_give_chance(name, kind):
    rows, new = _rows(kind, 400), _new(kind)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))
    head, _ = QUICK[name].solved(replace(rows, answers=rows.answers[order]), seed=0)
    skill = _skill(kind, head, new)
    if kind is Kind.CLASSES:
        assert skill < 0.45
    elif kind is Kind.VALUES:
        assert skill < 0.1
    else:
        # Who guesses labels blindly is right as often as the commoner answer comes.
        common = torch.maximum(new.answers.double().mean(0), 1 - new.answers.double().mean(0))
        assert skill < float(common.mean()) + 0.05


@ALL
def test_same_seed_same_tensors(name, kind):
    first, second = (QUICK[name].solved(_rows(kind), seed=3)[0] for _ in range(2))
    state = second.state_dict()
    assert all(torch.equal(each, state[key]) for key, each in first.state_dict().items())


@ALL
def test_made_again_from_config_and_tensors(name, kind):
    head, _ = QUICK[name].solved(_rows(kind), seed=0)
    again = type(head)(**head.config())
    again.load_state_dict(head.state_dict())
    features = _new(kind).features
    assert torch.equal(_told(head, features), _told(again, features))


@ALL
def test_an_image_is_its_pixels(name, kind):
    rows = _rows(kind)
    head, _ = QUICK[name].solved(rows, seed=0)
    flat = rows.features[:30]
    image = flat.reshape(2, 3, 5, -1).permute(0, 3, 1, 2)
    found = head(image).permute(0, 2, 3, 1).reshape(30, -1)
    torch.testing.assert_close(found, _told(head, flat), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_an_absent_class_is_never_likely(name):
    rows = _rows()
    fewer = rows.at(rows.answers != 1)
    head, _ = QUICK[name].solved(fewer, seed=0)
    shares = _told(head, _new().features).softmax(1)
    assert shares.shape[1] == CLASSES
    assert shares[:, 1].max() < 1e-6


REPEATED = [(n, k) for n, k in SERVED if n in ("linear", "ridge", "knn", "svm")]


@pytest.mark.parametrize(("name", "kind"), REPEATED, ids=lambda v: getattr(v, "value", v))
@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_a_row_that_stands_for_two_is_the_same_row_twice(name, kind, seed):
    rows = _rows(kind, 60, seed=seed, groups=3)
    generator = torch.Generator().manual_seed(seed)
    repeats = torch.randint(0, 3, (60,), generator=generator)
    at = torch.repeat_interleave(torch.arange(60), repeats)
    found, solution = QUICK[name].solved(replace(rows, repeats=repeats.double()).counted(), 0)
    expected, wanted = QUICK[name].solved(rows.at(at), 0)
    features = _new(kind).features[:80]
    close = {"atol": 0.05 if name in ("linear", "svm") else 2e-3, "rtol": 1e-2}
    torch.testing.assert_close(_told(found, features), _told(expected, features), **close)
    for key in ("penalty", "neighbours"):
        assert solution.get(key) == wanted.get(key)


@pytest.mark.parametrize("kind", [Kind.CLASSES, Kind.LABELS])
@pytest.mark.parametrize("penalty", [0.3, 1e-3])
def test_linear_is_at_the_optimum_of_scikit_learn(kind, penalty):
    rows, new = _rows(kind), _new(kind)
    generator = torch.Generator().manual_seed(5)
    importance = torch.rand(len(rows), generator=generator, dtype=torch.float64) + 0.5
    head, _ = fit_logistic(rows, importance, [penalty], seed=0, tolerance=1e-9)
    head.temperature.fill_(1.0)
    standard, others = (
        ((each.features - head.mean) * head.scale).double().numpy() for each in (rows, new)
    )
    weights = (importance / importance.sum()).numpy() * len(rows)
    told = _told(head, new.features).double()

    def fitted(answers):
        library = LogisticRegression(C=1 / (penalty * len(rows)), tol=1e-9, max_iter=5000)
        return library.fit(standard, answers, sample_weight=weights).predict_proba(others)

    if kind is Kind.CLASSES:
        found, expected = told.softmax(1), fitted(rows.answers.numpy())
    else:
        found = told.sigmoid()
        expected = np.stack([fitted(each)[:, 1] for each in rows.answers.T.numpy()], 1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_linear_chooses_a_penalty_by_what_is_held_out():
    """Many features of noise and few rows need a strong one."""
    rows = _rows(width=120, count=90)
    _, noisy = Linear().solved(rows, 0)
    _, plain = Linear().solved(_rows(width=4, count=2000), 0)
    assert noisy["penalty"] > plain["penalty"]


def test_linear_probabilities_are_calibrated():
    head, _ = Linear().solved(_rows(count=600), 0)
    new = _rows(count=3000, seed=7)
    sure, chosen = _told(head, new.features).softmax(1).max(1)
    assert abs(float(sure.mean() - (chosen == new.answers).float().mean())) < 0.04


def test_machine_probabilities_are_calibrated():
    head, _ = Machine().solved(_rows(count=600), 0)
    new = _rows(count=2000, seed=7)
    sure, chosen = _told(head, new.features).softmax(1).max(1)
    assert abs(float(sure.mean() - (chosen == new.answers).float().mean())) < 0.06


def _slow_neighbours(head, features, k, cosine):
    """(N, K) mean answers, one row after the other."""
    rows = (features - head.mean) * head.scale
    found = []
    for row in rows.double():
        if cosine:
            near = 1 - torch.cosine_similarity(row[None], head.rows.double())
        else:
            near = (row - head.rows.double()).norm(dim=1)
        left, total = float(k), torch.zeros(head.outputs, dtype=torch.float64)
        for number in torch.argsort(near).tolist():
            counted = min(left, float(head.repeats[number]))
            total += counted * head.answers[number]
            left -= counted
            if not left:
                break
        found.append(total / (k - left))
    return torch.stack(found)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_neighbours_equal_a_slow_search(cosine, k):
    generator = torch.Generator().manual_seed(0)
    repeats = torch.randint(1, 4, (240,), generator=generator).double()
    head, _ = fit_neighbours(replace(_rows(), repeats=repeats), cosine, [k], seed=0)
    head.smoothing.fill_(0)
    features = _new().features[:60]
    found = _told(head, features).exp()
    torch.testing.assert_close(
        found.double(), _slow_neighbours(head, features, k, cosine), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("metric", "cosine"), [("cosine", True), ("euclidean", False)])
def test_neighbours_equal_scikit_learn(metric, cosine):
    rows, values, new = _rows(), _rows(Kind.VALUES), _new().features
    for library, each in (
        (KNeighborsClassifier(7, metric=metric, algorithm="brute"), rows),
        (KNeighborsRegressor(7, metric=metric, algorithm="brute"), values),
    ):
        head, _ = fit_neighbours(each, cosine, [7], seed=0)
        head.smoothing.fill_(0)
        standard, others = (((f - head.mean) * head.scale).numpy() for f in (each.features, new))
        library.fit(standard, each.answers.numpy())
        if each is rows:
            found, expected = _told(head, new).exp(), library.predict_proba(others)
        else:
            found, expected = _told(head, new)[:, 0], library.predict(others)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_boosted_classes_equal_scikit_learn(classes):
    rows, new = _rows(), _new().features
    answers = (rows.answers + (torch.arange(240) % 3) * CLASSES).numpy() % classes
    library = HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=3, max_leaf_nodes=7)
    library.fit(rows.features.numpy(), answers)
    head = boosted.head_of(library, 6)
    found = _told(head, new).softmax(1).numpy()
    np.testing.assert_allclose(found, library.predict_proba(new.numpy()), atol=1e-5)


def test_boosted_values_equal_scikit_learn():
    rows, new = _rows(Kind.VALUES), _new().features
    library = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=3)
    library.fit(rows.features.numpy(), rows.answers.numpy())
    found = _told(boosted.head_of(library, 6), new)
    assert found.shape == (300, 1)
    np.testing.assert_allclose(found[:, 0].numpy(), library.predict(new.numpy()), atol=1e-4)


def test_forest_of_values_equals_scikit_learn():
    rows, new = _rows(Kind.VALUES), _new().features
    library = RandomForestRegressor(15, random_state=0)
    library.fit(rows.features.numpy(), rows.answers.numpy())
    found = _told(forest.head_of(library, 6, 1, "none"), new)[:, 0]
    np.testing.assert_allclose(found.numpy(), library.predict(new.numpy()), atol=1e-4)


@pytest.mark.parametrize("labels", [1, 3])
def test_forest_of_labels_equals_scikit_learn(labels):
    rows, new = _rows(Kind.LABELS), _new().features
    shown = rows.answers[:, :labels].clone()
    if labels > 1:
        shown[:, 1] = False  # a label that no row has
    library = RandomForestClassifier(15, random_state=0)
    answers = shown.numpy().astype(int)
    library.fit(rows.features.numpy(), answers if labels > 1 else answers[:, 0])
    found = _told(forest.head_of(library, 6, labels, "logit"), new).sigmoid()
    each = library.predict_proba(new.numpy())
    listed = each if labels > 1 else [each]
    expected = [p[:, 1] if p.shape[1] > 1 else np.zeros(len(new)) for p in listed]
    np.testing.assert_allclose(found.numpy(), np.stack(expected, 1), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_machine_of_classes_equals_scikit_learn(classes):
    rows, new = _rows(count=200), _new().features
    answers = (rows.answers + (torch.arange(200) % 2) * 2).numpy() % classes
    library = SVC(C=3.0, gamma=0.1).fit(rows.features.numpy(), answers)
    head = machine_head(library, classes)
    found, expected = _told(head, new).numpy(), library.decision_function(new.numpy())
    if classes == 2:
        np.testing.assert_allclose(found[:, 1], expected, atol=1e-4)
        np.testing.assert_allclose(found[:, 0], -expected, atol=1e-4)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_machine_of_values_equals_scikit_learn():
    rows, new = _rows(Kind.VALUES), _new().features
    library = SVR(C=3.0, gamma=0.1).fit(rows.features.numpy(), rows.answers.numpy())
    found = _told(machine_head(library, 1), new)[:, 0]
    np.testing.assert_allclose(found.numpy(), library.predict(new.numpy()), atol=1e-4)


def test_ridge_of_values_is_ridge_regression():
    rows, new = _rows(Kind.VALUES), _new().features
    solved = solve_ridge_values(
        rows.features,
        rows.answers[:, None],
        rows.groups,
        rows.weights,
        random_features=0,
        seed=0,
    )
    design, others = (solved.head.expand(each).double() for each in (rows.features, new))
    mean = rows.answers.mean()
    gram = design.T @ design + solved.penalty * len(rows) * torch.eye(design.shape[1])
    expected = others @ torch.linalg.solve(gram, design.T @ (rows.answers - mean)) + mean
    found = _told(solved.head, new)[:, 0]
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-3)


def test_groups_are_held_out_together():
    """Every row stands twice, in one group: a neighbour that is its own twin tells nothing."""
    rows = _rows(count=120)
    noise = torch.randint(0, CLASSES, (120,), generator=torch.Generator().manual_seed(2))
    twice = torch.arange(120).repeat(2)
    twins = replace(rows, answers=noise).at(twice)
    together = replace(twins, groups=[str(number) for number in twice.tolist()])
    apart = replace(twins, groups=[str(number) for number in range(240)])
    honest, fooled = (Neighbours().solved(each, 0)[1] for each in (together, apart))
    assert honest["held_out_accuracy"] < 0.5 < fooled["held_out_accuracy"]


@pytest.mark.parametrize("name", sorted(SHALLOW))
def test_candidates_begin_with_the_default_and_never_repeat(name):
    default = SHALLOW[name]()
    assert default.name == name
    assert list(default.candidates(1)) == [default]
    many = list(default.candidates(50))
    assert many[0] == default
    assert len(set(many)) == len(many)
    assert many == list(default.candidates(50))
    other = many[-1]
    assert next(iter(other.candidates(50))) == other


def test_a_linear_head_of_zeros_says_nothing():
    assert torch.equal(LinearHead(3, 2)(torch.randn(1, 3, 4, 4)), torch.zeros(1, 2, 4, 4))
