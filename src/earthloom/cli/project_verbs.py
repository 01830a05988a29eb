"""The verbs that work on a project file, one a stage, and `run` for all of them."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from earthloom.cli.options import Json, Out, ProjectFile, Quiet, Scheduler, app
from earthloom.cli.running import finish, guarded, load, ready, run_verb
from earthloom.errors import ProjectError


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
    task: Annotated[
        str | None, typer.Option(help="What the map shows: 'class' or 'value', a number.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Names, with commas between.")] = None,
    quantity: Annotated[
        str | None, typer.Option(help="Of a map of numbers, what is measured: biomass.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Of these numbers: t/ha.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Of a vector file of labels: classes, or numbers.")
    ] = None,
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
        "task": task,
        "archive": archive,
        "sensors": ",".join(sensor or ()) or None,
        "area": area,
        "start": start.date().isoformat() if start else None,
        "end": end.date().isoformat() if end else None,
        "labels": labels,
        "classes": classes,
        "quantity": quantity,
        "unit": unit,
        "column": column,
    }
    answers = initialise.gather({key: text for key, text in given.items() if text}, ask)
    written = initialise.write_project(project, answers, force)
    print(f"wrote {project}; look it over, then: earthloom run {project}")
    for lacking in initialise.to_fill_in(written):
        print(f"still to be put there: {lacking}")


@app.command()
def run(
    project: ProjectFile = Path("project.yaml"),
    scheduler: Scheduler = None,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Do everything: search, cube, chips, fit, map, assess. Done stages are not done again."""
    run_verb("run", project, out, quiet, as_json, arguments={"scheduler": scheduler})


@app.command()
def simulate(
    project: ProjectFile = Path("project.yaml"), quiet: Quiet = False, as_json: Json = False
) -> None:
    """Make the simulated archive that a project names."""
    run_verb("simulate", project, None, quiet, as_json)


@app.command()
def search(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """List the scenes that show the area in the period."""
    run_verb("search", project, out, quiet, as_json)


@app.command()
def cube(
    project: ProjectFile = Path("project.yaml"),
    scheduler: Scheduler = None,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make the cloud-masked cube: composites in physical units."""
    run_verb("cube", project, out, quiet, as_json, arguments={"scheduler": scheduler})


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
    run_verb("export", project, out, quiet, as_json, arguments={"folder": folder, "to": to})


@app.command()
def coverage(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show where and when the cube saw nothing, as a page of its own."""
    run_verb("coverage", project, out, quiet, as_json)


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
    run_verb("chips", project, out, quiet, as_json)


@app.command()
def fit(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit the model to the labels."""
    run_verb("fit", project, out, quiet, as_json)


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
    run_verb("map", project, out, quiet, as_json, changes, arguments)


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
    run_verb("export_model", project, out, quiet, as_json, arguments=arguments)


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
    run_verb("publish", project, out, quiet, as_json, arguments={"to": to, "parts": part})


@app.command()
def assess(
    project: ProjectFile = Path("project.yaml"),
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Assess the map: accuracies and areas with intervals, and the report."""
    run_verb("assess", project, out, quiet, as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")] = Path("demo"),
    size_m: Annotated[int, typer.Option(min=1000, help="Side of the area in metres.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated world.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Simulate an archive, map it, assess it: the whole way, in a few minutes."""
    ready(quiet)
    from earthloom import verbs

    finish(guarded(lambda: verbs.demo(folder, size_m, seed)), as_json, accept=False)


@app.command()
def serve(
    project: ProjectFile = Path("project.yaml"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8765,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Show the maps in a browser, on this machine alone. Ctrl-C stops it."""
    ready(quiet)
    from earthloom import verbs

    guarded(lambda: verbs.serve(load(project, out, {}), port, print))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say which parts of this machine work, and what to do about those that do not."""
    from earthloom import verbs

    checks = guarded(verbs.doctor)
    if as_json:
        print(json.dumps({"checks": checks}))
    else:
        for check in checks:
            print(f"{check['state']:<5} {check['part']:<10} {check['found']}")
            if check["advice"]:
                print(f"{'':<16} -> {check['advice']}")
    if any(check["state"] == "bad" for check in checks):
        raise typer.Exit(1)


def _area(text: str) -> str | tuple[float, ...]:
    parts = text.split(",")
    if len(parts) != 4:
        return str(Path(text).absolute())
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not west,south,east,north in degrees") from None
