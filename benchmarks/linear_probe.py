"""How long a linear probe takes, its penalty chosen by cross-validation.

10,000 rows of 768 features and 45 classes, as a network's features of a benchmark of scenes are;
ten penalties, whole groups held out. scikit-learn's LogisticRegressionCV does the same beside it
on the same rows, with the same folds and the same penalties.

Run alone: `python benchmarks/linear_probe.py`; `--rows`, `--features`, `--classes` make it smaller,
`--alone` leaves scikit-learn out, which takes minutes.
"""

import argparse
import json
import time

import numpy as np
import torch

from earthloom.fit.shallow import Kind, Rows
from earthloom.fit.shallow.linear import PENALTIES, fit_logistic, folds_for
from earthloom.tasks.linear import LinearHead

RANK = 60
"""Directions in which classes differ; a network's features have far fewer than it has channels."""


def drawn(count: int, width: int, classes: int, seed: int, kind_seed: int = 0) -> Rows:
    """Rows whose classes overlap, in features whose spectrum falls as a network's does."""
    fixed = torch.Generator().manual_seed(kind_seed)
    centres = 0.55 * torch.randn(classes, RANK, generator=fixed)
    mixing = torch.randn(RANK, width, generator=fixed) / 8
    turned = torch.linalg.qr(torch.randn(width, width, generator=fixed))[0]
    generator = torch.Generator().manual_seed(seed)
    answers = torch.arange(count) % classes
    inner = centres[answers] + torch.randn(count, RANK, generator=generator)
    spread = torch.exp(-torch.linspace(0, 5, width)) + 0.02
    noise = (torch.randn(count, width, generator=generator) * spread) @ turned
    groups = [str(number) for number in range(count)]
    weights = torch.ones(count, dtype=torch.float64)
    return Rows(Kind.CLASSES, inner @ mixing + noise, answers, weights, groups, classes)


def accuracy_of(head: LinearHead, rows: Rows) -> float:
    logits = head(rows.features.T[None, :, :, None])[0, :, :, 0]
    return float((logits.argmax(dim=0) == rows.answers).double().mean())


def ours(rows: Rows, new: Rows, repeats: int) -> dict[str, float]:
    """Shortest of some runs, and what the probe is worth."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        head, solution = fit_logistic(rows, rows.importance, PENALTIES, seed=0)
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": min(seconds),
        "slowest": max(seconds),
        "penalty": float(np.asarray(solution["penalty"])),
        "accuracy": accuracy_of(head, new),
    }


def theirs(rows: Rows, new: Rows) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.preprocessing import StandardScaler

    numbers = folds_for(rows, seed=0)
    folds = [
        (np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold))
        for fold in range(int(numbers.max()) + 1)
    ]
    start = time.perf_counter()
    scaler = StandardScaler().fit(rows.features.numpy())
    probe = LogisticRegressionCV(
        Cs=[1 / (penalty * len(rows)) for penalty in PENALTIES],
        cv=folds,
        scoring="neg_log_loss",
        max_iter=1000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    ).fit(scaler.transform(rows.features.numpy()), rows.answers.numpy())
    seconds = time.perf_counter() - start
    told = probe.predict(scaler.transform(new.features.numpy()))
    return {
        "seconds": seconds,
        "penalty": float(1 / (np.max(probe.C_) * len(rows))),
        "accuracy": float((told == new.answers.numpy()).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--classes", type=int, default=45)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without scikit-learn")
    given = parser.parse_args()
    rows, new = (drawn(given.rows, given.features, given.classes, seed) for seed in (1, 2))
    found = {"earthloom": ours(rows, new, given.repeats)}
    if not given.alone:
        found["scikit-learn"] = theirs(rows, new)
    print(f"{'':14}{'seconds':>10}{'penalty':>10}{'accuracy':>10}")
    for name, each in found.items():
        print(f"{name:14}{each['seconds']:10.2f}{each['penalty']:10.4f}{each['accuracy']:10.4f}")
    report = {
        "linear_probe_seconds": round(found["earthloom"]["seconds"], 2),
        "linear_probe_accuracy": round(found["earthloom"]["accuracy"], 4),
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    if "scikit-learn" in found:
        report["sklearn_seconds"] = round(found["scikit-learn"]["seconds"], 2)
        report["sklearn_accuracy"] = round(found["scikit-learn"]["accuracy"], 4)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
