"""Object stores: S3 and what speaks like it, Google Cloud Storage, Azure.

Keys come from the environment, as their own tools take them: `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and `AWS_ENDPOINT_URL` (for other servers than Amazon's),
`GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earthloom.errors import DataError, ProjectError, StageError, choices

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
"""First words of the addresses of object stores."""
_RETRIES = 5
_RETRY_FOR = timedelta(seconds=30)
_PART_BYTES = 8 * 2**20
"""Size of the parts that a large file is sent in."""
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
}


def is_object_url(text: str) -> bool:
    """Whether something is the address of an object store, such as `s3://bucket/folder`."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme in SCHEMES


@dataclass(frozen=True)
class Held:
    """An object as a listing shows it."""

    bytes: int
    e_tag: str | None
    """What the store calls this content; another content, another tag."""


@dataclass(frozen=True)
class Objects:
    """The objects below an address; keys are relative to it, with `/` between their parts.

    Threads may share it; another process opens a connection of its own.
    """

    url: str
    """`s3://bucket/folder`, `gs://bucket/folder` or `az://container/folder`."""

    def __post_init__(self) -> None:
        rest = self.url.partition("://")[2]
        if not is_object_url(self.url) or not rest.strip("/"):
            raise ProjectError(
                f"'{self.url}' is no address of an object store; "
                f"they look like s3://bucket/folder, with one of: {choices(SCHEMES)}"
            )

    def __reduce__(self) -> tuple[type["Objects"], tuple[str]]:
        return Objects, (self.url,)

    @cached_property
    def store(self) -> "ObjectStore":
        """The connection, as obstore has it."""
        from obstore.store import from_url

        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        with self._words():
            return from_url(
                self.url.rstrip("/"),
                client_options={"allow_http": True} if plain else None,
                retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR},
            )

    def read(self, key: str) -> bytes | None:
        """An object's bytes; None where there is none. DataError if the store refuses."""
        import obstore

        with self._words(DataError):
            try:
                return bytes(obstore.get(self.store, key).bytes())
            except FileNotFoundError:
                return None

    def put(self, key: str, content: bytes | Path) -> str | None:
        """Writes an object, whole or not at all; its tag. StageError if the store refuses."""
        import obstore

        with self._words():
            made = obstore.put(self.store, key, content, chunk_size=_PART_BYTES)
        return made["e_tag"]

    def listing(self) -> Mapping[str, Held]:
        """All objects below the address, by key."""
        import obstore

        with self._words():
            return {
                each["path"]: Held(each["size"], each["e_tag"])
                for page in obstore.list(self.store)
                for each in page
            }

    def remove(self, keys: Sequence[str]) -> None:
        """Removes objects; one that is not there is none to remove."""
        import obstore

        if keys:
            with self._words():
                obstore.delete(self.store, list(keys))

    def zarr(self) -> Any:
        """The objects as a store that zarr reads."""
        from zarr.storage import ObjectStore as ZarrStore

        return ZarrStore(self.store, read_only=True)

    @contextmanager
    def _words(self, kind: type[Exception] = StageError) -> Iterator[None]:
        """Turns what obstore says into one line for a person."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            scheme = self.url.partition("://")[0]
            raise kind(
                f"the object store {self.url} cannot be used: {_first_line(error)}; "
                f"it takes its keys from the environment: {_KEYS[scheme]}"
            ) from error


def read_object(url: str) -> bytes:
    """The bytes of one object by its address; DataError if it is not there."""
    folder, _, key = url.rpartition("/")
    content = Objects(folder).read(key)
    if content is None:
        raise DataError(f"{url} does not exist")
    return content


def _first_line(error: Exception) -> str:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return line if len(line) <= 300 else line[:300] + "..."
