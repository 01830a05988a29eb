"""Real servers on this machine's loopback: nginx for files, rustac for a STAC API, and one that
answers as a test tells it to."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pystac
import pytest

Json = dict[str, Any]

NGINX = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  types {{ application/json json; image/tiff tif; }}
  server {{
    listen 127.0.0.1:{port};
    location /files/ {{ alias {root}/; }}
    location /slow/ {{ alias {root}/; limit_rate 200k; }}
    location /failing/ {{ return 500 "out of order"; }}
    location /damaged/ {{ alias {folder}/damaged/; }}
    location /keyed/ {{ if ($arg_key != secret) {{ return 403; }} alias {root}/; }}
    location /private/ {{
      if ($http_authorization != "Bearer hush") {{ return 401; }}
      alias {root}/;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class FileServer:
    """nginx, with one folder behind several prefixes."""

    url: str
    folder: Path

    def address(self, path: str, prefix: str = "files") -> str:
        """Prefixes: files, slow, failing (500), damaged, keyed (?key=secret), private (bearer)."""
        return f"{self.url}/{prefix}/{path}"

    def damage(self, name: str, content: bytes) -> str:
        """The address of a file with such content."""
        (self.folder / "damaged" / name).write_bytes(content)
        return self.address(name, "damaged")

    @property
    def requests(self) -> list[str]:
        """Lines of the access log."""
        return (self.folder / "access.log").read_text().splitlines()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def file_server(
    tiny_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FileServer]:
    """nginx over the simulated archive."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        pytest.skip("needs nginx")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "damaged").mkdir()
    port = free_port()
    user = "user root;" if os.getuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(user=user, folder=folder, root=tiny_archive, port=port))
    command = [nginx, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)]
    subprocess.run(command, check=True)  # comes back when it listens
    yield FileServer(f"http://127.0.0.1:{port}", folder)
    subprocess.run([*command, "-s", "quit"], check=True)


def items_of(archive: Path, root: str) -> list[Json]:
    """The items of a static catalog, whose files lie below another root."""
    found = []
    catalog = pystac.Catalog.from_file(str(archive / "catalog.json"))
    for item in catalog.get_items(recursive=True):
        item.make_asset_hrefs_absolute()
        content = item.to_dict(include_self_link=False, transform_hrefs=False)
        content["links"] = []
        for asset in content["assets"].values():
            asset["href"] = f"{root}/{Path(asset['href']).relative_to(archive).as_posix()}"
        found.append(content)
    return found


def collections_of(archive: Path) -> list[Json]:
    catalog = pystac.Catalog.from_file(str(archive / "catalog.json"))
    return [
        each.to_dict(include_self_link=False, transform_hrefs=False) | {"links": []}
        for each in catalog.get_children()
    ]


@pytest.fixture(scope="session")
def stac_api(
    tiny_archive: Path, file_server: FileServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a STAC API over the simulated archive, whose files are on `file_server`."""
    rustac = shutil.which("rustac", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if rustac is None:
        pytest.skip("needs rustac, of the package rustac[cli]")
    folder = tmp_path_factory.mktemp("stac-api")
    files = []
    for collection in collections_of(tiny_archive):
        files.append(folder / f"{collection['id']}.json")
        files[-1].write_text(json.dumps(collection))
    features = items_of(tiny_archive, f"{file_server.url}/files")
    files.append(folder / "items.json")
    files[-1].write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    address = f"127.0.0.1:{free_port()}"
    command = [rustac, "serve", "--addr", address, *map(str, files)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert server.stderr is not None
    said = [server.stderr.readline()]
    while said[-1] and b"Serving" not in said[-1]:
        said.append(server.stderr.readline())
    assert said[-1], said
    yield f"http://{address}"
    server.kill()
    server.wait()


@dataclass(frozen=True)
class Answer:
    """What a scripted server says."""

    status: int = 200
    content: Json | bytes = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Scripted:
    """A server that gives prepared answers, the last one again and again."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    by_path: dict[str, Answer] = field(default_factory=dict)
    """Answers that hold for a path at any time, before all others."""
    seen: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    """Method, path with query, and headers of each request."""

    def next(self, path: str) -> Answer:
        if path in self.by_path:
            return self.by_path[path]
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server whose answers a test sets."""
    told = Scripted("")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.seen.append((self.command, self.path, dict(self.headers)))
            answer = told.next(self.path.partition("?")[0])
            content = answer.content
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def answer() -> type[Answer]:
    """Makes an answer of a scripted server: `answer(status, content, headers)`."""
    return Answer


@pytest.fixture
def closed_port() -> int:
    """A port that nothing listens on."""
    return free_port()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])
