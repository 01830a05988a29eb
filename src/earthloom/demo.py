"""The demonstration project: the whole way on the simulated archive."""

from importlib.resources import files
from pathlib import Path

from earthloom.stages import write_atomic
from earthloom.world import CLASSES


def write_demo(folder: Path, size_m: int, seed: int) -> Path:
    """Writes the demonstration's project file into a folder and returns its path."""
    template = files("earthloom").joinpath("demo.yaml").read_text(encoding="utf-8")
    classes = "\n".join(
        f'  - {{code: {each.code}, name: {each.name}, colour: "{each.colour}"}}' for each in CLASSES
    )
    path = folder / "project.yaml"
    write_atomic(path, template.format(seed=seed, size_m=size_m, classes=classes + "\n"))
    return path
