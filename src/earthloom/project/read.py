"""Reading a YAML file of settings into a frozen model, with the line of the first mistake."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from earthloom.errors import ProjectError
from earthloom.explain import explain, keys_of
from earthloom.project.settings import Settings

Read = TypeVar("Read", bound=Settings)


class _Loader(yaml.SafeLoader):
    """Leaves dates as text: a day that is none is then an error with a line, as any other."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_settings(file: Path, kind: type[Read], what: str, changes: Mapping[str, Any]) -> Read:
    """Reads and validates a file of `kind`, which messages call a `what`, such as `project`;
    ProjectError names the line of the first mistake.

    `changes` replace keys of the file. What is validated may ask for the file's `folder`.
    """
    text = _text(file, what)
    node, content = _parsed(file, text)
    if not isinstance(content, dict):
        raise ProjectError(f"{file}: a {what} is a mapping of keys such as {keys_of(kind)}")
    try:
        return kind.model_validate({**content, **changes}, context={"folder": file.parent})
    except ValidationError as error:
        raise ProjectError(f"{file}{explain(error, node, kind, what)}") from error


def _text(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"cannot read the {what} file {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProjectError(f"{file}: not text in UTF-8: {error}") from error


def _parsed(file: Path, text: str) -> tuple[yaml.Node | None, Any]:
    """The file's keys with their places, and what they hold."""
    try:
        return yaml.compose(text, _Loader), yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise ProjectError(f"{file}{line}: not valid YAML: {problem}") from error
