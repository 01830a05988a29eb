"""`python -m earthloom.pretrain`: the command line, with Python's own library alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from earthloom.errors import EarthloomError, ProjectError
from earthloom.pretrain.config import EXAMPLE, RECIPES, load_config, recipe_of

_ABOUT = """\
Pretrains the any-sensor encoder (loom) without labels. Needs Python, numpy, torch, lightning and
timm alone, so it runs on a bare GPU machine.

  python -m earthloom.pretrain example > pretrain.toml   a file to begin with
  python -m earthloom.pretrain recipe loom-tiny          a file for a processor alone
  python -m earthloom.pretrain run pretrain.toml         trains; Ctrl-C stops after a step
  python -m earthloom.pretrain run pretrain.toml         goes on where it stopped
  python -m earthloom.pretrain export pretrain.toml --out weights.safetensors
                                                         the weights of a run as they are now
  python -m earthloom.pretrain card weights.safetensors  where weights come from

On a machine with many cores, make the simulated chips first, each part by a process of its own:

  python -m earthloom.pretrain chips pretrain.toml --out part-0 --first 0 --count 5000
  python -m earthloom.pretrain chips pretrain.toml --out part-1 --first 5000 --count 5000

and read them with [[data]] name = "store", folders = ["part-0", "part-1"].
"""
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """Does what the arguments say; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.do(given, out))
    except EarthloomError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m earthloom.pretrain",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = verbs.add_parser("run", help="pretrain as a file says, or go on with it")
    run.add_argument("file", type=Path, help="TOML; 'example' prints one")
    run.set_defaults(do=_run)
    example = verbs.add_parser("example", help="print a file to begin with")
    example.set_defaults(do=_example)
    recipe = verbs.add_parser("recipe", help="print a file for one pretraining, with its data")
    recipe.add_argument("recipe", choices=RECIPES)
    recipe.set_defaults(do=_recipe)
    card = verbs.add_parser("card", help="print the card of a file of weights, as JSON")
    card.add_argument("file", type=Path, help="weights.safetensors")
    card.add_argument("--page", metavar="TITLE", help="as a page of Markdown with this title")
    card.set_defaults(do=_card)
    export = verbs.add_parser("export", help="write the weights of a run as they are now")
    export.add_argument("file", type=Path, help="TOML of the run, which may be going on")
    export.add_argument("--out", type=Path, required=True, help="weights.safetensors")
    export.set_defaults(do=_export)
    chips = verbs.add_parser("chips", help="write simulated chips to a store")
    chips.add_argument("file", type=Path, help="TOML whose [[data]] has a simulated source")
    chips.add_argument("--out", type=Path, required=True, help="folder of the store")
    chips.add_argument("--first", type=int, default=0, help="number of the first chip")
    chips.add_argument("--count", type=int, required=True, help="how many chips")
    chips.set_defaults(do=_chips)
    return parser


def _run(given: argparse.Namespace, out: TextIO) -> int:
    from earthloom.pretrain.loop import pretrain

    settings = load_config(given.file)
    made = pretrain(settings, _Told(settings.log_every, settings.folder, out))
    if made.first:
        print(f"weights: {made.weights}", file=out)
    return 0


class _Told:
    """Prints how far it is."""

    def __init__(self, every: int, folder: Path, out: TextIO) -> None:
        self._every, self._folder, self._out = every, folder, out

    def __call__(self, done: int, steps: int) -> None:
        if done % self._every == 0 or done == steps:
            print(f"step {done} of {steps}; see {self._folder}", file=self._out, flush=True)


def _example(given: argparse.Namespace, out: TextIO) -> int:
    print(EXAMPLE, file=out, end="")
    return 0


def _recipe(given: argparse.Namespace, out: TextIO) -> int:
    print(recipe_of(given.recipe), file=out, end="")
    return 0


def _card(given: argparse.Namespace, out: TextIO) -> int:
    from earthloom.encoders.loom import read_card
    from earthloom.stages import canonical_json

    found = dict(read_card(given.file))
    if given.page is None:
        print(canonical_json(found), file=out, end="")
    else:
        from earthloom.pretrain.card import as_page

        print(as_page(found, given.page), file=out, end="")
    return 0


def _export(given: argparse.Namespace, out: TextIO) -> int:
    from earthloom.pretrain.export import export

    card = export(load_config(given.file), given.out)
    print(f"weights after {card['steps']} steps: {given.out}", file=out)
    return 0


def _chips(given: argparse.Namespace, out: TextIO) -> int:
    from earthloom.pretrain.simulated import Simulated
    from earthloom.pretrain.write import write_chips

    sources = [each for each in load_config(given.file).sources if isinstance(each, Simulated)]
    if not sources:
        raise ProjectError(f"{given.file} has no source of simulated chips; valid is: simulated")
    write_chips(sources[0].open(), given.out, given.first, given.count)
    print(f"{given.count} chips: {given.out}", file=out)
    return 0
