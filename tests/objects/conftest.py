"""A local server that speaks like S3: moto's, where `moto_server` is on the path.

It is a program of its own, not a library that tests import: what it needs holds other packages at
older versions. `pip install 'moto[s3]' flask flask-cors` in any environment gives it.
"""

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

PATIENCE = 60
BUCKET = "earth"


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The server's address."""
    server = shutil.which("moto_server")
    if server is None:
        pytest.skip("needs moto_server on the path, a local server that speaks like S3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [server, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail("moto_server does not answer")


@pytest.fixture
def s3(endpoint, monkeypatch) -> str:
    """An empty bucket's address, and keys in the environment, for us and for GDAL."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_S3_ENDPOINT": endpoint.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }.items():
        monkeypatch.setenv(name, value)
    _ask(f"{endpoint}/moto-api/reset", "POST")
    _ask(f"{endpoint}/{BUCKET}", "PUT")
    return f"s3://{BUCKET}"


def _ask(address: str, method: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(address, b"", method=method), timeout=60):
        return


@pytest.fixture
def silent() -> Callable[..., None]:
    """Progress that nobody watches."""
    return lambda done, total, detail="": None
