"""What is wrong in a project file, in words: the line, the value, the valid choices."""

from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from earthloom.errors import choices


def explain(
    error: ValidationError, node: yaml.Node | None, root: type[BaseModel], what: str
) -> str:
    """The first mistake as `, line 7: sensors.0.name: ...`, and how many more there are.

    `what`: how the whole file is called, such as `project`.
    """
    details = error.errors(include_url=False)
    first = details[0]
    # A list whose item is wrong is called too short as well.
    details = [each for each in details if each is first or each["type"] != "too_short"]
    loc = tuple(first["loc"])
    line, place = _locate(node, loc)
    place = place or f"the {what}"
    kind, context = first["type"], first.get("ctx", {})
    given = first.get("input")
    if kind == "missing":
        wrong = "this key is missing"
    elif kind == "extra_forbidden":
        wrong = f"there is no such key; valid keys here: {_siblings(loc, root)}"
    elif kind in ("union_tag_invalid", "literal_error", "enum"):
        expected = context.get("expected_tags") or context.get("expected")
        value = context.get("tag", given)
        wrong = f"{value!r} is not valid; valid: {expected}"
    elif kind == "union_tag_not_found":
        wrong = f"the key {context.get('discriminator')} is missing"
    elif kind == "value_error":
        wrong = str(context.get("error", first["msg"]))
    else:
        wrong = f"{given!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f", line {line}: {place}: {wrong}{more}"


def _locate(node: yaml.Node | None, loc: tuple[int | str, ...]) -> tuple[int, str]:
    """Line (from 1) of the deepest part of `loc` that the file has, and `loc` as a person reads it.

    Pydantic puts the tag of a union into the path as well; the file has no such key, and it is
    passed over.
    """
    line = node.start_mark.line + 1 if node else 1
    names: list[str] = []
    for part in loc:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            child = node.value[part] if part < len(node.value) else None
            found = (child, child) if child is not None else None
        if found is not None:
            key, node = found
            line = key.start_mark.line + 1
            names.append(str(part))
        elif part is loc[-1]:
            names.append(str(part))
    return line, ".".join(names)


def _siblings(loc: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """The keys that are valid beside a key that is not."""
    model: Any = root
    for part in loc[:-1]:
        model = _step(model, part)
    return keys_of(model)


def _step(annotation: Any, part: int | str) -> Any:
    """The model that a part of a path leads to."""
    if isinstance(part, int):
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if part in annotation.model_fields:
            return _models_in(annotation.model_fields[part].annotation)
        return annotation
    for model in annotation:
        tags = [field.annotation for field in model.model_fields.values()]
        if any(part in getattr(tag, "__args__", ()) for tag in tags):
            return model
    return annotation


def _models_in(annotation: Any) -> Any:
    """The one model in an annotation, or a tuple of those of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    parts = [_models_in(part) for part in getattr(annotation, "__args__", ())]
    models = [part for part in parts if part]
    return models[0] if len(models) == 1 else tuple(models)


def keys_of(model: Any) -> str:
    """The keys that a model takes, as a person reads them."""
    fields = getattr(model, "model_fields", None)
    return choices(fields) if fields else "(none)"
