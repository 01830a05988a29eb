"""The environment of all pages' templates: strict, and safe against what names and words hold."""

from collections.abc import Callable, Mapping

import jinja2

Filters = Mapping[str, Callable[..., str]]
"""How values are written, by the name that a template calls it by."""


def environment_of(package: str, filters: Filters) -> jinja2.Environment:
    """The templates in a package's folder `templates`; a name that is not known is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment
