"""Files against the multihashes that an archive gives."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.archive.checksum import multihash_of, verify
from earthloom.errors import ArchiveError, DataError

CODES = {
    "11": hashlib.sha1,
    "12": hashlib.sha256,
    "20": hashlib.sha384,
    "13": hashlib.sha512,
    "14": hashlib.sha3_512,
    "16": hashlib.sha3_256,
    "d501": hashlib.md5,
    "c0e402": hashlib.blake2b,
    "a0e402": lambda data: hashlib.blake2b(data, digest_size=32),
}
"""Prefixes of multihashes, as the multicodec table gives them, and what they stand for."""


@pytest.mark.parametrize("prefix", CODES)
@given(data=st.binary(max_size=100))
def test_each_function_knows_its_bytes(prefix, data):
    digest = CODES[prefix](data).hexdigest()
    verify(data, f"{prefix}{len(digest) // 2:02x}{digest}")


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_changed_byte_is_found(data, draw):
    place = draw.draw(st.integers(0, len(data) - 1))
    damaged = bytearray(data)
    damaged[place] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(DataError, match="the checksum does not fit"):
        verify(bytes(damaged), multihash_of(data))


def test_the_example_of_the_specification():
    """Of multiformats.io/multihash: the SHA2-256 of 'multihash'."""
    known = "12209cbc07c3f991725836a3aa2a581ca2029198aa420b9d99bc0e131d9f3e2cbe47"
    assert multihash_of(b"multihash") == known
    verify(b"multihash", known.upper())


def test_a_file_by_its_path(tmp_path):
    file = tmp_path / "B04.tif"
    file.write_bytes(b"pixels" * 1_000_000)
    verify(file, multihash_of(b"pixels" * 1_000_000))
    file.write_bytes(b"pixels")
    with pytest.raises(DataError, match=r"B04\.tif: the checksum does not fit: sha2-256 is "):
        verify(file, multihash_of(b"pixels" * 1_000_000))
    with pytest.raises(DataError, match=r"none\.tif cannot be read: No such file"):
        verify(tmp_path / "none.tif", multihash_of(b""))


@pytest.mark.parametrize(
    ("multihash", "words"),
    [
        ("", "is not a multihash"),
        ("xyz", "is not a multihash in hexadecimal"),
        ("1220abcd", "its digest has another length"),
        ("1201ab", "its digest has another length"),
        ("ffffffffffffffffffff", "is not a multihash"),
        ("0004abcdef01", "of the hash function 0x0; known are: sha1, sha2-256"),
    ],
)
def test_what_is_no_multihash(multihash, words):
    with pytest.raises(ArchiveError, match=words):
        verify(b"", multihash)


@pytest.mark.shared
def test_real_items(shared_data):
    """The form of checksums in published items is understood."""
    text = (shared_data / "stac_items").rglob("*.json")
    found = [
        part.split('"')[0]
        for file in text
        for part in file.read_text(encoding="utf-8").split('"file:checksum": "')[1:]
    ]
    for multihash in found:
        with pytest.raises(DataError, match="the checksum does not fit"):
            verify(b"", multihash)
    if not found:
        pytest.skip("no item there has a checksum")
