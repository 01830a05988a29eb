"""The demonstration project: the whole way on the simulated archive."""

from importlib.resources import files
from pathlib import Path

from earthloom.errors import ProjectError
from earthloom.stages import write_atomic
from earthloom.world import CLASSES


def write_demo(folder: Path, size_m: int, seed: int) -> Path:
    """Writes the demonstration's project file into a folder and returns its path."""
    template = files("earthloom").joinpath("demo.yaml").read_text(encoding="utf-8")
    classes = "\n".join(
        f'  - {{code: {each.code}, name: {each.name}, colour: "{each.colour}"}}' for each in CLASSES
    )
    path = folder / "project.yaml"
    text = template.format(seed=seed, size_m=size_m, classes=classes + "\n")
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ProjectError(
            f"{path} is there already and differs from the demonstration's; "
            f"run it with 'earthloom run {path}', or name another folder"
        )
    write_atomic(path, text)
    return path
