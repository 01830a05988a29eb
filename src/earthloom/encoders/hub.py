"""Files of published weights: fetched from the Hugging Face Hub, of one revision, and checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from earthloom.errors import ContractError, DataError

_LEAST_DIGITS = 8
"""Of a checksum: as many as the names of published files carry."""

Download = Callable[[str, str, str], str]
"""Repository, file and revision, to the path of the file on this machine."""


@dataclass(frozen=True)
class Source:
    """Where a published file is."""

    repo: str
    """Owner and name on the Hub: `ibm-nasa-geospatial/Prithvi-EO-2.0-300M`."""
    file: str
    revision: str
    """The commit that the file is of; a branch may have another file tomorrow."""
    sha256: str
    """Hexadecimal; its first eight digits at least, which the names of some files carry."""

    def fetch(self, download: Download | None = None) -> Path:
        """The file on this machine, see `fetch`."""
        return fetch(self.repo, self.file, self.revision, self.sha256, download)


def fetch(
    repo: str, file: str, revision: str, sha256: str, download: Download | None = None
) -> Path:
    """The file in the Hub's own cache, from the network where it is not there yet.

    `revision` and `sha256` as of `Source`. `download`: what brings the file; huggingface_hub by
    default. ContractError for a checksum that is none; DataError if the file cannot be had, as
    without network, and if it is not the one that the checksum is of.
    """
    wanted = sha256.lower()
    if not re.fullmatch(rf"[0-9a-f]{{{_LEAST_DIGITS},64}}", wanted):
        raise ContractError(
            f"the checksum of {file} is '{sha256}'; valid are {_LEAST_DIGITS} to 64 hexadecimal "
            "digits of its SHA-256"
        )
    try:
        path = Path((download or _from_hub)(repo, file, revision))
    # The Hub's errors are those of files, values and networks; all mean that there is no file.
    except Exception as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{file} of {repo} at {revision} is not in the cache and cannot be fetched: {why}; "
            "fetch it where there is network, or read the weights from a file"
        ) from error
    found = _sha256(path)
    if not found.startswith(wanted):
        raise DataError(
            f"{path} has the SHA-256 {found}, not {wanted}: it is not the file that was meant; "
            "delete it to fetch it again"
        )
    return path


def source_of(url: str, sha256: str | None = None) -> Source:
    """Where a file is, from its address on the Hub, as TorchGeo lists it.

    Without `sha256`, the digits at the end of the file's name are its checksum. ContractError for
    another address, and for a name without digits.
    """
    parts = re.fullmatch(
        r"https://(?:hf\.co|huggingface\.co)/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url
    )
    if parts is None:
        raise ContractError(
            f"{url} is no file on the Hub; valid are https://hf.co/OWNER/NAME/resolve/REVISION/FILE"
        )
    repo, revision, file = parts.groups()
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", file)
    if sha256 is None and digits is None:
        raise ContractError(f"the name of {file} carries no checksum; give its SHA-256")
    return Source(repo, file, revision, sha256 or (digits.group(1) if digits else ""))


def _from_hub(repo: str, file: str, revision: str) -> str:
    from huggingface_hub import hf_hub_download

    return hf_hub_download(repo, file, revision=revision)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
