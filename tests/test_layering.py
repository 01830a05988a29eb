"""Imports run one way, and the two wings do not know each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "earthloom"

ORDER = (
    "archive",
    "cube",
    "chips",
    "datasets",
    "encoders",
    "tasks",
    "fit",
    "pretrain",
    "maps",
    "assess",
    "bench",
    "serve",
)
"""The way of the data; a package imports only from its left."""

GROUND = (
    "errors",
    "energy",
    "memory",
    "stages",
    "progress",
    "workers",
    "objects",
    "sensors",
    "sample",
    "grid",
    "world",
)
LEARNING = ("encoders", "tasks", "fit", "pretrain")
EARTH = ("archive", "cube", "grid")
TOP = (
    "areas",
    "targets",
    "pipeline",
    "mapping",
    "assessment_values",
    "assessment",
    "delivery",
    "verbs",
    "cli",
    "publish",
    "demo",
    "doctor",
    "initialise",
)
"""What holds the packages together; no package imports these."""

HEAVY = (
    "rasterio",
    "odc",
    "geopandas",
    "xarray",
    "pydantic",
    "zarr",
    "pystac",
    "pyogrio",
    "shapely",
)


def _is_for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _statements(body: list[ast.stmt], everywhere: bool) -> Iterator[ast.stmt]:
    """Statements that are run: at import alone, or `everywhere`; not those for types."""
    for node in body:
        if _is_for_types_only(node):
            continue
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not everywhere:
            continue
        for inner in ("body", "orelse", "finalbody"):
            children = getattr(node, inner, [])
            if isinstance(children, list):
                yield from _statements(children, everywhere)


def imports_of(file: Path, everywhere: bool = True) -> set[str]:
    """Full names of the modules that a file imports."""
    found: set[str] = set()
    for node in _statements(ast.parse(file.read_text(encoding="utf-8")).body, everywhere):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module is not None
            found.add(node.module)
    return found


READERS = ("chips.folds", "chips.loader", "chips.sampling", "chips.store")
"""What of `chips` needs numpy and torch alone: bare machines train with these."""


def own_imports(file: Path) -> set[str]:
    """The rooms of this package that a file imports: `cube`, `errors`, ..."""
    parts = [name.split(".") for name in imports_of(file)]
    return {part[1] for part in parts if part[0] == "earthloom" and len(part) > 1}


def files_of(room: str) -> list[Path]:
    folder = SOURCE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [SOURCE / f"{room}.py"]


def test_every_room_has_its_place():
    """A new package is put in order here."""
    rooms = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms = {room for room in rooms if (SOURCE / room).is_dir() or not room.startswith("__")}
    rooms -= {"__pycache__", "demo.yaml"}
    assert rooms == {*ORDER, *GROUND, *TOP, "project", "explain"}


@pytest.mark.parametrize("room", GROUND)
def test_the_ground_floor_imports_nothing_above_it(room):
    for file in files_of(room):
        assert own_imports(file) <= {*GROUND, room}, file


@pytest.mark.parametrize("room", ["errors", "sensors", "sample", "world"])
def test_the_ground_floor_is_numpy_and_torch_alone(room):
    for file in files_of(room):
        assert not {name.split(".")[0] for name in imports_of(file)} & set(HEAVY), file


@pytest.mark.parametrize("room", ORDER)
def test_imports_run_one_way(room):
    right = set(ORDER[ORDER.index(room) + 1 :])
    for file in files_of(room):
        assert not own_imports(file) & right, file


@pytest.mark.parametrize("room", [*ORDER, *GROUND, "project", "explain"])
def test_no_package_imports_what_holds_them_together(room):
    for file in files_of(room):
        assert not own_imports(file) & set(TOP), file


@pytest.mark.parametrize("room", LEARNING)
def test_the_learning_wing_runs_on_a_bare_machine(room):
    """Training needs neither GDAL nor catalogs."""
    above = {*EARTH, "maps", "assess", "serve", "project", "explain"} - {"sensors"}
    for file in files_of(room):
        assert not own_imports(file) & above, file
        modules = {name.removeprefix("earthloom.") for name in imports_of(file)}
        assert {name for name in modules if name.startswith("chips")} <= set(READERS), file
        loaded = {name.split(".")[0] for name in imports_of(file, everywhere=False)}
        assert not loaded & set(HEAVY), file


@pytest.mark.parametrize("room", EARTH)
def test_the_earth_wing_does_not_learn(room):
    for file in files_of(room):
        assert not own_imports(file) & set(LEARNING), file


def test_the_project_file_is_read_without_pixels():
    for file in files_of("project"):
        assert own_imports(file) <= {"errors", "sensors", "explain", "project"}


@pytest.mark.parametrize("reader", READERS)
def test_chips_are_read_without_gdal(reader):
    file = SOURCE / f"{reader.replace('.', '/')}.py"
    assert own_imports(file) <= {"errors", "sample", "stages"}
