"""The verbs of the bench: run, show, merge."""

from pathlib import Path
from typing import Annotated

import typer

from earthloom.cli.options import Json, Quiet, app
from earthloom.cli.running import finish, guarded, ready

bench = typer.Typer(no_args_is_help=True, help="Compare encoders and ways of fitting them.")
app.add_typer(bench, name="bench")

BenchFile = Annotated[Path, typer.Argument(help="The bench file.", metavar="BENCH.YAML")]


@bench.command("run")
def bench_run(
    file: BenchFile = Path("bench.yaml"),
    data: Annotated[
        Path | None,
        typer.Option(envvar="EARTHLOOM_DATA", help="Folder that the file's data paths begin at."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of results, not the file's.")] = None,
    part: Annotated[str, typer.Option(help="1/2 does the first half of the cells.")] = "1/1",
    retry: Annotated[bool, typer.Option(help="Try cells again that failed.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit and score every cell that has no result yet."""
    ready(quiet)
    from earthloom.bench.command import run_file
    from earthloom.progress import bar

    with bar("bench") as tick:
        made = guarded(lambda: run_file(file, data, out, part, retry, tick))
    finish(made, as_json, accept=True)


@bench.command("show")
def bench_show(
    where: Annotated[Path, typer.Argument(help="A bench file, or a folder of results.")],
    as_json: Json = False,
) -> None:
    """Write the leaderboard, a page and a table, of the results that are there."""
    from earthloom.bench.command import show_results

    finish(guarded(lambda: show_results(where)), as_json, accept=True)


@bench.command("merge")
def bench_merge(
    first: Annotated[Path, typer.Argument(help="A folder of results.")],
    second: Annotated[Path, typer.Argument(help="Another one, of the same bench file.")],
    into: Annotated[Path, typer.Argument(help="Folder to make.")],
    as_json: Json = False,
) -> None:
    """Join the results of two machines in a new folder."""
    from earthloom.bench.command import merge_results

    finish(guarded(lambda: merge_results(first, second, into)), as_json, accept=True)
