"""Keys to files."""

import pickle
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint

import pytest

from earthloom.archive import sign
from earthloom.archive.http import Http, Manners
from earthloom.archive.sign import (
    FakeSigner,
    PlanetaryComputerSigner,
    Unsigned,
    blob_container,
    open_signer,
)
from earthloom.errors import ArchiveError, ProjectError
from earthloom.project import HeaderSign, NoSign, PlanetaryComputerSign, PluginSign

MANNERS = Manners(requests_per_second=1e6, retries=0)
BLOB = "https://account.blob.core.windows.net/container/folder/B04.tif"


@pytest.fixture
def signer(scripted):
    made = PlanetaryComputerSigner(f"{scripted.url}/token", Http(MANNERS), lambda: made.time)
    made.time = datetime(2024, 1, 1, tzinfo=UTC)
    return made


def token(text, until):
    return {"token": text, "msft:expiry": until.isoformat().replace("+00:00", "Z")}


def test_tokens_are_fetched_once_and_renewed_before_their_end(signer, scripted, answer):
    until = signer.time + timedelta(hours=1)
    later = until + timedelta(hours=1)
    scripted.answers = [answer(200, token("a=1", until)), answer(200, token("b=2", later))]
    assert signer.signed(BLOB) == f"{BLOB}?a=1"
    assert signer.signed(BLOB.replace("B04", "B08")).endswith("B08.tif?a=1")
    assert [path for _, path, _ in scripted.seen] == ["/token/account/container"]
    signer.time += timedelta(minutes=54)
    assert signer.signed(BLOB) == f"{BLOB}?a=1"
    signer.time += timedelta(minutes=2)
    assert signer.signed(BLOB) == f"{BLOB}?b=2"
    assert len(scripted.seen) == 2


def test_each_container_has_a_token_of_its_own(signer, scripted, answer):
    until = signer.time + timedelta(hours=1)
    scripted.answers = [answer(200, token("a=1", until)), answer(200, token("b=2", until))]
    assert signer.signed(BLOB).endswith("?a=1")
    assert signer.signed(BLOB.replace("/container/", "/other/")).endswith("?b=2")


def test_a_signed_address_is_signed_anew(signer, scripted, answer):
    scripted.answers = [answer(200, token("a=1", signer.time + timedelta(hours=1)))]
    assert signer.signed(f"{BLOB}?old=token") == f"{BLOB}?a=1"


@pytest.mark.parametrize(
    "href",
    [
        "https://example.org/container/B04.tif",
        "https://ai4edatasetspublicassets.blob.core.windows.net/assets/x.tif",
        "https://blob.core.windows.net/container/x.tif",
        "sentinel-2-l2a/B04.tif",
        "s3://bucket/B04.tif",
    ],
)
def test_other_addresses_stay_as_they_are(href, signer, scripted):
    assert blob_container(href) is None
    assert signer.signed(href) == href
    assert scripted.seen == []


@pytest.mark.parametrize("content", [{}, {"token": "a"}, {"token": "a", "msft:expiry": "soon"}])
def test_a_server_that_gives_no_token(content, signer, scripted, answer):
    scripted.answers = [answer(200, content)]
    with pytest.raises(ArchiveError, match="does not answer with a token and its end"):
        signer.signed(BLOB)


def test_a_secret_goes_to_its_own_host_alone(monkeypatch):
    monkeypatch.setenv("OUR_KEY", "hush\n")
    signer = open_signer(
        HeaderSign(kind="header", variable="OUR_KEY"), "https://Stac.example.org/v1", MANNERS
    )
    there = {"Authorization": "Bearer hush"}
    assert signer.headers("https://stac.example.org:8443/x.tif") == there
    assert signer.headers("https://example.org/x.tif") == {}
    assert signer.headers("https://evil.org/stac.example.org") == {}
    assert "hush" not in repr(signer)


def test_other_headers_and_hosts(monkeypatch):
    monkeypatch.setenv("OUR_KEY", "hush")
    settings = HeaderSign(
        kind="header", variable="OUR_KEY", name="X-Api-Key", prefix="", hosts=("data.org",)
    )
    signer = open_signer(settings, "https://stac.example.org", MANNERS)
    assert signer.headers("https://data.org/x.tif") == {"X-Api-Key": "hush"}
    assert signer.headers("https://stac.example.org") == {}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "variable OUR_KEY, which archive.sign names, is not set"),
        ("a\nb", "more than a line"),
    ],
)
def test_a_secret_that_is_none(value, words, monkeypatch):
    monkeypatch.delenv("OUR_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OUR_KEY", value)
    signer = open_signer(HeaderSign(kind="header", variable="OUR_KEY"), "https://a.org", MANNERS)
    with pytest.raises(ArchiveError, match=words):
        signer.headers("https://a.org/x")


def test_signers_by_their_settings():
    assert open_signer(NoSign(kind="none"), "", MANNERS) == Unsigned()
    chosen = PlanetaryComputerSign(kind="planetary-computer")
    assert isinstance(open_signer(chosen, "", MANNERS), PlanetaryComputerSigner)


@pytest.mark.parametrize(
    "settings",
    [
        NoSign(kind="none"),
        HeaderSign(kind="header", variable="OUR_KEY"),
        PlanetaryComputerSign(kind="planetary-computer", token_url="https://a.org/token"),
    ],
    ids=lambda settings: settings.kind,
)
def test_signers_travel_to_other_processes(settings, monkeypatch):
    monkeypatch.setenv("OUR_KEY", "hush")
    signer = open_signer(settings, "https://a.org", MANNERS)
    sent = pickle.dumps(signer)
    assert b"hush" not in sent
    other = pickle.loads(sent)
    assert other.headers("https://a.org/x") == signer.headers("https://a.org/x")
    assert other.signed("https://a.org/x") == "https://a.org/x"


def test_a_signer_of_another_package(monkeypatch):
    point = EntryPoint("fake", "earthloom.archive.sign:FakeSigner", sign.PLUGINS)
    monkeypatch.setattr(sign, "entry_points", lambda group: [point])
    signer = open_signer(PluginSign(kind="plugin", name="fake"), "", MANNERS)
    assert isinstance(signer, FakeSigner)
    assert signer.signed("a.tif") == "a.tif?key=secret"
    assert signer.asked == ["a.tif"]
    with pytest.raises(ProjectError, match=r"no installed package has a signer 'x' .*: fake"):
        open_signer(PluginSign(kind="plugin", name="x"), "", MANNERS)
