"""Every error that Earthloom raises on purpose, in one tree.

    EarthloomError
    ├── ProjectError      the project file: a line, a value, the valid choices
    ├── ArchiveError      scenes cannot be listed, or an archive cannot be made
    ├── DataError         pixels: a missing band, a wrong CRS, a file that does not load
    ├── LabelError        labels: an unknown class, none in the area, a file without CRS
    ├── ContractError     a sample and an encoder, or two stages, do not fit each other
    ├── TrainingError     the loss is not a number any more
    ├── StageError        a stage cannot be written: disk full, no permission
    └── Interrupted       the user stopped the run; the next run goes on from here

A message is one line for a person: it names the value that was given and the valid choices.
"""

from collections.abc import Iterable


class EarthloomError(Exception):
    """Base of all; `exit_code` is what the command line ends with."""

    exit_code = 1


class ProjectError(EarthloomError):
    """The project file is not valid."""

    exit_code = 2


class ArchiveError(EarthloomError):
    """An archive cannot be read, searched or made."""


class DataError(EarthloomError):
    """Pixels are missing, unreadable or not what they were said to be."""


class LabelError(EarthloomError):
    """Labels are missing, unreadable or name what the project does not know."""


class ContractError(EarthloomError):
    """What one part hands over is not what the next one declared that it needs."""


class TrainingError(EarthloomError):
    """The loss is not a number any more."""


class StageError(EarthloomError):
    """A stage's result cannot be written."""


class Interrupted(EarthloomError):
    """The user stopped the run."""

    exit_code = 130


def choices(valid: Iterable[object]) -> str:
    """Valid values as a person reads them: `a, b, c`."""
    listed = ", ".join(str(value) for value in valid)
    return listed or "(none)"
