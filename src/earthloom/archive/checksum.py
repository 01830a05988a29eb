"""Whether a file holds the bytes that its archive says, by STAC's `file:checksum`.

A multihash is hexadecimal: the code of the hash function and the length of the digest in bytes,
each an unsigned varint of seven bits a byte, least first, then the digest
(multiformats.io/multihash).
"""

import hashlib
from pathlib import Path
from typing import Protocol

from earthloom.errors import ArchiveError, DataError, choices

_FUNCTIONS = {
    0x11: "sha1",
    0x12: "sha2-256",
    0x13: "sha2-512",
    0x14: "sha3-512",
    0x15: "sha3-384",
    0x16: "sha3-256",
    0x17: "sha3-224",
    0x20: "sha2-384",
    0xB240: "blake2b-512",
    0xB220: "blake2b-256",
    0xD5: "md5",
}
"""Hash functions by their code in the multicodec table."""

_PIECE = 1 << 20


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


def verify(source: Path | bytes, multihash: str) -> None:
    """Checks a file, or bytes, against a multihash; DataError if they are not what it says.

    ArchiveError if the multihash itself is none, or is of a function that is not known.
    """
    code, expected = parse(multihash)
    function = _hash_of(_FUNCTIONS[code])
    try:
        _feed(function, source)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    found = function.digest()[: len(expected)]
    if found != expected:
        name = "bytes" if isinstance(source, bytes) else str(source)
        raise DataError(
            f"{name}: the checksum does not fit: {_FUNCTIONS[code]} is {found.hex()}, and the "
            f"archive says {expected.hex()}; the file is damaged or was replaced"
        )


def parse(multihash: str) -> tuple[int, bytes]:
    """The code of the hash function and the digest; ArchiveError if it is no multihash."""
    try:
        raw = bytes.fromhex(multihash)
        code, rest = _varint(raw)
        length, digest = _varint(rest)
    except (ValueError, IndexError):
        raise ArchiveError(f"'{multihash}' is not a multihash in hexadecimal") from None
    if code not in _FUNCTIONS:
        raise ArchiveError(
            f"the checksum '{multihash}' is of the hash function {code:#x}; "
            f"known are: {choices(_FUNCTIONS.values())}"
        )
    longest = _hash_of(_FUNCTIONS[code]).digest()
    # Fewer bytes than the function gives are valid, but few are no safeguard.
    if len(digest) != length or not 4 <= length <= len(longest):
        raise ArchiveError(f"'{multihash}' is not a multihash: its digest has another length")
    return code, digest


def multihash_of(source: Path | bytes) -> str:
    """The SHA2-256 multihash of a file, or of bytes, in hexadecimal."""
    function = _hash_of("sha2-256")
    _feed(function, source)
    digest = function.digest()
    return bytes([0x12, len(digest)]).hex() + digest.hex()


def _varint(raw: bytes) -> tuple[int, bytes]:
    """An unsigned varint, and the bytes after it; IndexError where it does not end."""
    number = 0
    for at in range(9):
        number |= (raw[at] & 0x7F) << (7 * at)
        if raw[at] < 0x80:
            return number, raw[at + 1 :]
    raise ValueError("longer than nine bytes")


def _hash_of(name: str) -> _Hash:
    if name == "blake2b-256":
        return hashlib.blake2b(digest_size=32)
    names = {"blake2b-512": "blake2b", "sha2-256": "sha256", "sha2-384": "sha384"}
    plain = names.get(name, name.replace("sha2-", "sha").replace("-", "_"))
    return hashlib.new(plain, usedforsecurity=False)


def _feed(function: _Hash, source: Path | bytes) -> None:
    if isinstance(source, bytes):
        function.update(source)
        return
    with source.open("rb") as file:
        while piece := file.read(_PIECE):
            function.update(piece)
