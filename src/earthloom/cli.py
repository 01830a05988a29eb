"""The command line: one verb a stage, and `run` for all of them."""

import json
import sys
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

import earthloom
from earthloom.errors import EarthloomError, Interrupted, ProjectError

if TYPE_CHECKING:
    from earthloom.project import Project

# Everything heavy is imported inside the verbs: `--help` and tab completion answer at once.

app = typer.Typer(
    name="earthloom",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "From open satellite archives and a handful of labels to validated maps.\n\n"
        "Start with `earthloom demo`: it simulates an archive, maps it and writes a report. Then "
        "copy demo/project.yaml, name your own area and labels in it, and `earthloom run` it."
    ),
)

ProjectFile = Annotated[
    Path, typer.Argument(help="The project file.", show_default=True, metavar="PROJECT.YAML")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notices.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")]
Out = Annotated[Path | None, typer.Option(help="Folder for results, instead of the project's.")]

Scheduler = Annotated[
    str | None,
    typer.Option(
        envvar="EARTHLOOM_SCHEDULER",
        help="Address of a dask scheduler whose workers make cubes and maps: tcp://HOST:8786.",
    ),
]

Result = TypeVar("Result")

FAILED_SCENES_EXIT = 3
"""The maps are made, but scenes did not load; rsync says 23 for the like."""


@app.command()
def init(
    project: ProjectFile = Path("project.yaml"),
    archive: Annotated[
        str | None,
        typer.Option(help="A STAC API's address, a catalog.json, a .parquet, or 'simulated'."),
    ] = None,
    sensor: Annotated[
        list[str] | None, typer.Option(help="A sensor to use; may be given several times.")
    ] = None,
    area: Annotated[
        str | None, typer.Option(help="A vector file, or 'west,south,east,north' in degrees.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="A vector file, or a raster.")] = None,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day of the period.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of it.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Names, with commas between.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take defaults.")] = False,
    force: Annotated[bool, typer.Option(help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a project file with comments, from options or by asking."""
    from earthloom import initialise

    if project.exists() and not force:  # before anything is asked
        raise ProjectError(f"{project} exists; name another file, or overwrite it with --force")

    def ask(question: str, default: str) -> str:
        answer: str = default if yes else typer.prompt(question, default=default)
        return answer

    given = {
        "archive": archive,
        "sensors": ",".join(sensor or ()) or None,
        "area": area,
        "start": start.date().isoformat() if start else None,
        "end": end.date().isoformat() if end else None,
        "labels": labels,
        "classes": classes,
    }
    answers = initialise.gather({key: text for key, text in given.items() if text}, ask)
    initialise.write_project(project, answers, force)
    print(f"wrote {project}; look it over, then: earthloom run {project}")


@app.command()
def run(
    project: ProjectFile = Path("project.yaml"),
    scheduler: Scheduler = None,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Do everything: search, cube, chips, fit, map, assess. Done stages are not done again."""
    _verb("run", project, out, quiet, as_json, arguments={"scheduler": scheduler})


@app.command()
def simulate(
    project: ProjectFile = Path("project.yaml"), quiet: Quiet = False, as_json: Json = False
) -> None:
    """Make the simulated archive that a project names."""
    _verb("simulate", project, None, quiet, as_json)


@app.command()
def search(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """List the scenes that show the area in the period."""
    _verb("search", project, out, quiet, as_json)


@app.command()
def cube(
    project: ProjectFile = Path("project.yaml"),
    scheduler: Scheduler = None,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make the cloud-masked cube: composites in physical units."""
    _verb("cube", project, out, quiet, as_json, arguments={"scheduler": scheduler})


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    project: ProjectFile = Path("project.yaml"),
    to: Annotated[str, typer.Option(help="cog or netcdf.")] = "cog",
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the cube as Cloud-Optimised GeoTIFFs, one a time step, or as NetCDF."""
    _verb("export", project, out, quiet, as_json, arguments={"folder": folder, "to": to})


@app.command()
def coverage(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show where and when the cube saw nothing, as a page of its own."""
    _verb("coverage", project, out, quiet, as_json)


@app.command()
def sensors(
    name: Annotated[str | None, typer.Argument(help="A sensor; all if none is named.")] = None,
    folder: Annotated[Path, typer.Option(help="Folder with sensor tables of your own.")] = Path(),
) -> None:
    """List the sensors, or the bands, units and quality values of one."""
    from earthloom.sensors import known_sensors, load_sensor
    from earthloom.sensors.describe import describe_sensor, list_sensors

    if name is None:
        print(list_sensors([load_sensor(each, folder) for each in known_sensors(folder)]))
    else:
        print(describe_sensor(load_sensor(name, folder)))


@app.command()
def chips(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Cut the cube and its labels into chips."""
    _verb("chips", project, out, quiet, as_json)


@app.command()
def fit(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit the model to the labels."""
    _verb("fit", project, out, quiet, as_json)


@app.command(name="map")
def map_(
    project: ProjectFile = Path("project.yaml"),
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of a saved model to map with, such as out/fit/all."),
    ] = None,
    area: Annotated[
        str | None, typer.Option(help="Another area: a vector file, or 'west,south,east,north'.")
    ] = None,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day of another period.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of it.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="The catalog.json of another archive.")
    ] = None,
    scheduler: Scheduler = None,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Map the area wall to wall; with --model, another area or year by a saved model.

    Example: earthloom map project.yaml --model out/fit/all --area next.geojson
    --start 2024-01-01 --end 2024-12-31 --out out-2024
    """
    changes: dict[str, Any] = {}
    if area is not None:
        changes["area"] = _area(area)
    if start is not None or end is not None:
        if start is None or end is None:
            raise typer.BadParameter("--start and --end go together")
        changes["dates"] = {"start": start.date(), "end": end.date()}
    if archive is not None:
        changes["archive"] = {"kind": "catalog", "path": str(archive.absolute())}
    if changes and out is None:
        raise typer.BadParameter("another area, period or archive needs a folder of its own: --out")
    arguments = {"model": model, "scheduler": scheduler}
    _verb("map", project, out, quiet, as_json, changes, arguments)


@app.command(name="export-model")
def export_model(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    project: ProjectFile = Path("project.yaml"),
    model: Annotated[
        Path | None, typer.Option(help="Folder of a saved model, such as out/fit/all.")
    ] = None,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the fitted network as ONNX, to run without torch, and measure it here."""
    arguments = {"folder": folder, "model": model}
    _verb("export_model", project, out, quiet, as_json, arguments=arguments)


@app.command()
def publish(
    to: Annotated[str, typer.Argument(help="Object store, such as s3://BUCKET/PREFIX.")],
    project: ProjectFile = Path("project.yaml"),
    part: Annotated[
        list[str] | None,
        typer.Option(help="First name of stages to send: map, assess, polygons, collection, cube."),
    ] = None,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Send finished maps and reports to an object store; what is there already is not sent."""
    _verb("publish", project, out, quiet, as_json, arguments={"to": to, "parts": part})


@app.command()
def assess(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Assess the map: accuracies and areas with intervals, and the report."""
    _verb("assess", project, out, quiet, as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")] = Path("demo"),
    size_m: Annotated[int, typer.Option(min=1000, help="Side of the area in metres.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated world.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Simulate an archive, map it, assess it: the whole way, in a few minutes."""
    _ready(quiet)
    from earthloom import verbs

    _finish(_guarded(lambda: verbs.demo(folder, size_m, seed)), as_json, accept=False)


@app.command()
def serve(
    project: ProjectFile = Path("project.yaml"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8765,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Show the maps in a browser, on this machine alone. Ctrl-C stops it."""
    _ready(quiet)
    from earthloom import verbs

    _guarded(lambda: verbs.serve(_load(project, out, {}), port, print))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say which parts of this machine work, and what to do about those that do not."""
    from earthloom import verbs

    checks = _guarded(verbs.doctor)
    if as_json:
        print(json.dumps({"checks": checks}))
    else:
        for check in checks:
            print(f"{check['state']:<5} {check['part']:<10} {check['found']}")
            if check["advice"]:
                print(f"{'':<16} -> {check['advice']}")
    if any(check["state"] == "bad" for check in checks):
        raise typer.Exit(1)


def main() -> None:
    """Runs the command line; an expected error is one line and an exit code of its own."""
    try:
        app()
    except EarthloomError as error:
        # Libraries, whose words an error may hold, write several lines.
        message = " ".join(line.strip() for line in str(error).splitlines())
        print(f"earthloom: error: {message}", file=sys.stderr)
        sys.exit(error.exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"earthloom {earthloom.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Options that stand before a verb."""


def _verb(
    name: str,
    file: Path,
    out: Path | None,
    quiet: bool,
    as_json: bool,
    changes: dict[str, Any] | None = None,
    arguments: dict[str, Any] | None = None,
) -> None:
    """Runs one verb on a project file and prints what it made."""
    _ready(quiet)
    project = _load(file, out, changes or {})

    def work() -> dict[str, Any]:
        from earthloom import verbs

        summary: dict[str, Any] = getattr(verbs, name)(project, **(arguments or {}))
        return summary

    _finish(_guarded(work), as_json, accept=project.failed_scenes == "accept")


def _load(file: Path, out: Path | None, changes: dict[str, Any]) -> "Project":
    from earthloom.project import load_project

    if out is not None:
        changes = changes | {"out": str(out.absolute())}
    return load_project(file, **changes)


def _area(text: str) -> str | tuple[float, ...]:
    parts = text.split(",")
    if len(parts) != 4:
        return str(Path(text).absolute())
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not west,south,east,north in degrees") from None


def _ready(quiet: bool) -> None:
    from earthloom.progress import set_quiet

    set_quiet(quiet)


def _guarded(work: Callable[[], Result]) -> Result:
    """Ctrl-C is an error with words of its own."""
    try:
        return work()
    except KeyboardInterrupt:
        # What was broken off complains when it is thrown away, and has nothing to say.
        warnings.simplefilter("ignore")
        sys.unraisablehook = lambda _: None
        raise Interrupted(
            "stopped; finished stages are kept, and the same command goes on from here"
        ) from None


def _finish(summary: dict[str, Any], as_json: bool, accept: bool) -> None:
    """Prints a verb's summary; ends with 3 where scenes did not load, unless that is accepted."""
    from earthloom.progress import warn

    failed = summary.get("failed_scenes", {})
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        _print_human(summary)
    for scene, reason in failed.items():
        warn(f"scene {scene} did not load: {reason}")
    if failed and not accept:
        many = "1 scene" if len(failed) == 1 else f"{len(failed)} scenes"
        print(
            f"earthloom: error: {many} did not load, and the result was made without; "
            "repair the files and run again, or set 'failed_scenes: accept' in the project file",
            file=sys.stderr,
        )
        raise typer.Exit(FAILED_SCENES_EXIT)


def _print_human(summary: dict[str, Any], indent: str = "") -> None:
    for key, value in summary.items():
        # Keys of ours are words; those of inner mappings may be names, which stay as they are.
        title = key if indent else key.replace("_", " ")
        if isinstance(value, dict) and value:
            print(f"{indent}{title}")
            _print_human(value, indent + "  ")
        elif isinstance(value, float):
            print(f"{indent}{title}: {value:.4g}")
        elif value not in ({}, None):
            print(f"{indent}{title}: {value}")
