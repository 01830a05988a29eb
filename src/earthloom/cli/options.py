"""The application, and the options that many verbs take."""

from pathlib import Path
from typing import Annotated

import typer

import earthloom

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
