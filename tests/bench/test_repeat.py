"""A bench of encoders and ways of fitting that are really there, run twice."""

from pathlib import Path

import pandas as pd
import torch
import yaml
from bench_fakes import write_bench
from threadpoolctl import threadpool_limits

from earthloom.bench import load_bench, registry, run_bench, show
from earthloom.bench.store import fingerprint, without_costs

ENCODERS, ADAPTATIONS = registry.encoders, registry.adaptations
"""As they are before the fixtures put fakes in their place."""


def tables(file: Path, out: Path, threads: int) -> tuple[pd.DataFrame, bytes, str]:
    """All figures but costs, the table of scores as a file, and the digest that the page tells."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            store = run_bench(load_bench(file, out=out))
    finally:
        torch.set_num_threads(before)
    shown, rows = show(store), store.rows()
    assert fingerprint(rows)[:12] in shown.page.read_text()
    return without_costs(rows), shown.scores.read_bytes(), fingerprint(rows)


def test_twice_is_the_same_to_the_bit(tmp_path, monkeypatch):
    """Drawn features, a fit and a search. With another number of threads sums are added up
    in another order: decisions are the same, probabilities nearly."""
    monkeypatch.setattr(registry, "encoders", ENCODERS)
    monkeypatch.setattr(registry, "adaptations", ADAPTATIONS)
    file = write_bench(
        tmp_path, encoders=["random-conv"], adaptations=["linear"], budgets=[3],
        search=2, seeds=1, transfer=False,
    )  # fmt: skip
    asked = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(asked | {"datasets": asked["datasets"][:1]}))
    first, again = (tables(file, tmp_path / name, threads=1) for name in "ab")
    assert set(first[0]["status"]) == {"ok"}
    assert set(first[0]["tried"]) == {2}
    pd.testing.assert_frame_equal(first[0], again[0], check_exact=True)
    assert first[1:] == again[1:]
    two = tables(file, tmp_path / "c", threads=2)[0]
    pd.testing.assert_frame_equal(first[0], two, check_exact=False, rtol=1e-4, atol=1e-5)
    decided = first[0]["decides"]
    assert first[0].loc[decided, "value"].tolist() == two.loc[decided, "value"].tolist()
