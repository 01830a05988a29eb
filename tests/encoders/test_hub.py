"""Files of published weights: fetched, checked, and what is said where they cannot be had."""

import hashlib

import pytest

from earthloom.encoders.hub import Source, fetch, source_of
from earthloom.errors import ContractError, DataError

REPO, FILE, REVISION = "owner/name", "weights.pt", "c8c2bb9"
CONTENT = b"tensors"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub(tmp_path):
    """In the place of the network: a folder with one file of one revision, and what was asked."""
    (tmp_path / FILE).write_bytes(CONTENT)
    asked = []

    def download(repo, file, revision):
        asked.append((repo, file, revision))
        return str(tmp_path / file)

    return download, asked


@pytest.mark.parametrize("sha", [SHA, SHA[:8], SHA.upper()])
def test_a_file_is_fetched_by_its_revision_and_checked(hub, tmp_path, sha):
    download, asked = hub
    assert fetch(REPO, FILE, REVISION, sha, download) == tmp_path / FILE
    assert asked == [(REPO, FILE, REVISION)]


def test_another_file_is_an_error(hub):
    other = "0" * 64
    with pytest.raises(DataError, match=f"has the SHA-256 {SHA}, not {other}"):
        Source(REPO, FILE, REVISION, other).fetch(hub[0])


@pytest.mark.parametrize("sha", ["", "abc", "g" * 64, "a" * 65])
def test_a_checksum_that_is_none_is_refused_before_anything_is_fetched(hub, sha):
    download, asked = hub
    with pytest.raises(ContractError, match="8 to 64 hexadecimal"):
        fetch(REPO, FILE, REVISION, sha, download)
    assert not asked


def test_without_network_one_line_says_so(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as caught:
        fetch("owner/nothing-of-this-name", FILE, "0" * 40, SHA)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(
        f"{FILE} of owner/nothing-of-this-name at {'0' * 40} is not in the cache"
    )


def test_a_source_is_read_from_an_address():
    found = source_of("https://hf.co/torchgeo/moco/resolve/5b8cddc/resnet18_all_moco-59bfdff9.pth")
    assert found == Source("torchgeo/moco", "resnet18_all_moco-59bfdff9.pth", "5b8cddc", "59bfdff9")
    plain = "https://huggingface.co/a/b/resolve/main/B13_vits16.pth"
    assert source_of(plain, SHA) == Source("a/b", "B13_vits16.pth", "main", SHA)
    with pytest.raises(ContractError, match="carries no checksum"):
        source_of(plain)
    with pytest.raises(ContractError, match="is no file on the Hub"):
        source_of("https://example.com/weights.pth")
