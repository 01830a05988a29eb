"""Folders of one's own that come in splits of their own."""

import numpy as np
import pytest
from PIL import Image

from earthloom.bench.problem import open_problem
from earthloom.bench.settings import Bench
from earthloom.errors import DataError


def _bench(folder, **options):
    return Bench.model_validate(
        {
            "name": "own",
            "out": str(folder / "out"),
            "data": str(folder),
            "datasets": [
                {
                    "name": "ponds",
                    "folder": "ponds",
                    "layout": "scenes",
                    "options": options,
                    "split": {"by": "published", "train": "train", "test": "val"},
                }
            ],
            "encoders": ["flat"],
            "adaptations": ["centroids"],
        }
    )


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for level, name in enumerate(("field", "pond")):
            (tmp_path / "ponds" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((8, 8, 3), 40 * number + 100 * level + len(split), np.uint8)
                Image.fromarray(pixels).save(
                    tmp_path / "ponds" / split / name / f"{split}{number}.png"
                )
    return tmp_path


def test_training_and_test_are_the_folders(folder):
    bench = _bench(folder)
    problem = open_problem(bench, bench.datasets[0])
    (fold,) = problem.folds("folds", seed=0)
    assert problem.classes == ("field", "pond")
    assert (len(fold.train), len(fold.test)) == (6, 4)
    assert not set(fold.train) & set(fold.test)
    assert {problem.samples[int(n)].id.split("/")[-1][:5] for n in fold.train} == {"train"}


def test_a_split_that_is_not_there_is_named(folder):
    bench = _bench(folder)
    (choice,) = bench.datasets
    split = choice.split.model_copy(update={"test": "dev"})
    with pytest.raises(DataError, match="dev"):
        open_problem(bench, choice.model_copy(update={"split": split}))
