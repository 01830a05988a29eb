"""The command line."""

import sys

from earthloom.cli import bench_verbs, project_verbs
from earthloom.cli.options import app
from earthloom.errors import EarthloomError

__all__ = ["app", "bench_verbs", "main", "project_verbs"]


def main() -> None:
    """Runs the command line; an expected error is one line and an exit code of its own."""
    try:
        app()
    except EarthloomError as error:
        # Libraries, whose words an error may hold, write several lines.
        message = " ".join(line.strip() for line in str(error).splitlines())
        print(f"earthloom: error: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
