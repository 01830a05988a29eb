"""Files of common layouts, made by hand for the tests."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
from published import SIDE, rgb, rng, write


def image(path: Path, side: int = SIDE) -> Path:
    write(path, rgb(rng(path.name), side))
    return path


def coco(folder: Path) -> dict:
    image(folder / "val/a.jpg")
    image(folder / "val/empty.jpg")
    return {
        "images": [
            {"id": 4, "file_name": "a.jpg"},
            {"id": 9, "file_name": "empty.jpg"},
            {"id": 2, "file_name": "lost.jpg"},
        ],
        "categories": [{"id": 30, "name": "ship"}, {"id": 11, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 30, "bbox": [2, 3, 4, 5],
             "segmentation": [[2, 3, 6, 3, 6, 8], [2, 3, 4, 8, 2, 8]]},
        ],
    }  # fmt: skip


def yolo(folder: Path, text: str, names: str = "[car, ship]") -> None:
    write(folder / "images/train/a.png", rgb(rng("a"), 20)[:, :10])
    image(folder / "images/train/empty.png")
    (folder / "labels/train").mkdir(parents=True, exist_ok=True)
    (folder / "labels/train/a.txt").write_text(text)
    (folder / "data.yaml").write_text(f"path: ../elsewhere\ntrain: images/train\nnames: {names}\n")


def points(folder: Path, rows: list[dict]) -> None:
    pd.DataFrame(rows).to_csv(folder / "points.csv", index=False)


def npy(values: np.ndarray) -> bytes:
    store = io.BytesIO()
    np.save(store, values)
    return store.getvalue()


def shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def png(folder: Path, values: np.ndarray) -> bytes:
    write(folder / "one.png", values)
    return (folder / "one.png").read_bytes()
