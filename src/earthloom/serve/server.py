"""The server: this machine alone, until it is stopped."""

import errno
import socket
from collections.abc import Callable

import uvicorn

from earthloom.errors import EarthloomError
from earthloom.project import Project
from earthloom.serve.app import make_app
from earthloom.serve.maps import maps_of

HOST = "127.0.0.1"
"""Never another: the page has no password."""


def serve_maps(project: Project, port: int, ready: Callable[[str], None]) -> None:
    """Serves a project's maps until Ctrl-C.

    `ready` is called with the page's address once it can be asked for. Port 0 takes any free one.
    DataError if there is no map yet, EarthloomError if the port is taken.
    """
    app = make_app(project, maps_of(project))
    with _listening(port) as listener:
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        ready(f"http://{HOST}:{listener.getsockname()[1]}/")
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            # Ctrl-C is how a server is meant to end.
            return


def _listening(port: int) -> socket.socket:
    """A socket that already takes connections, so that the address said is one that answers."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            why = "is in use by another program"
        elif error.errno == errno.EACCES:
            why = "needs rights that you do not have"
        else:
            raise
        raise EarthloomError(
            f"port {port} on {HOST} {why}; choose another with --port, or --port 0 for any free one"
        ) from error
    return listener
