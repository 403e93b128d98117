"""The search and the cards of each kind of place over HTTP: what is told, and an error in time for whatever else."""

import threading
import time

import huggingface_hub
import pytest

from omlx.downloads.errors import (
    DownloadError,
    EndpointError,
    OfflineError,
    UnknownModelError,
    UnknownRevisionError,
    UnreachableError,
)
from omlx.downloads.patience import Patience
from omlx.downloads.source import Found
from tests.fakes.downloads import REPO, WANTED, WEIGHTS, model_files
from tests.fakes.file_server import Page, Refuse, Stall

QUICK = Patience(seconds=10, pause_seconds=0)
EVERYTHING = ["page", "missing", Refuse(200, {"content-type": "application/json"}), Refuse(418, {})]


def source(place, token=None, patience=QUICK, **where):
    return place.source(token, patience, **where)


def names(found):
    return [each.repository for each in found]


def both(asked):
    """The two calls that must end well or with a `DownloadError`."""
    return [lambda: asked.search("tiny"), lambda: asked.card(REPO)]


def test_names_that_a_terminal_would_obey_are_left_out(place):
    place.add("org/tiny\x1b[2J", {}, library="mlx")
    place.add("org/tiny", {}, library="mlx")
    assert names(source(place).search("tiny")) == ["org/tiny"]


def test_a_card_says_what_would_be_fetched_and_what_of(place):
    files = model_files() | {"README.md": b"---\nlicense: mit\n---\n# Tiny\n\x1b[2Jtext"}
    commit = place.add(REPO, files, library="mlx", downloads=5, likes=1, card={"license": "apache-2.0"})
    card = source(place).card(REPO)
    assert card.found == Found(REPO, 5, 1, 1735689600, is_mlx=True)
    assert (card.commit, card.license, card.text, card.problem) == (commit, "apache-2.0", "# Tiny\n[2Jtext", None)
    assert sorted(card.fetched) == WANTED
    assert {each.path for each in card.files} == set(files)
    assert card.memory_bytes is not None


def test_a_card_of_another_revision(place):
    place.add(REPO, model_files() | {"README.md": b"old"}, revision="v1")
    place.add(REPO, model_files())
    assert source(place).card(REPO, "v1").text == "old"
    with pytest.raises(UnknownRevisionError):
        source(place).card(REPO, "v2")


def test_a_model_without_weights_for_mlx_has_a_card_that_says_so(place):
    place.add(REPO, {"model.gguf": b"x", "README.md": b"hello"})
    card = source(place).card(REPO)
    assert (card.fetched, card.memory_bytes, card.text) == ((), None, "hello")
    assert "GGUF" in card.problem


def test_no_name_of_a_file_is_trusted(place):
    place.add(REPO, model_files() | {"a/../../b.json": b"{}"})
    card = source(place).card(REPO)
    assert card.fetched == ()
    assert "it leads elsewhere" in card.problem


def test_of_long_files_no_more_is_read_than_is_shown(place):
    place.add(REPO, model_files() | {"README.md": b"# Long\n" + b"word " * 4_000_000})
    assert len(source(place).card(REPO).text) == 64 << 10
    assert place.sent["README.md"] < 20_000_000


@pytest.mark.parametrize("name", ["org/nothing", "no name", "../x"])
def test_a_model_that_is_not_there_has_none(place, name):
    with pytest.raises(UnknownModelError):
        source(place).card(name)


@pytest.mark.parametrize("everything", EVERYTHING)
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_no_hub_is_named(place, everything, which):
    place.everything = everything
    with pytest.raises(EndpointError, match=place.url):
        both(source(place))[which]()


def test_a_page_instead_of_a_readme_is_named(place):
    place.add(REPO, model_files())
    place.fault("README.md", Page())
    with pytest.raises(EndpointError, match=r"sent a web page instead of README\.md"):
        source(place).card(REPO)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(("path", "which"), [("search", 0), ("model", 1), ("config.json", 1)])
def test_a_hub_that_is_busy_for_a_moment_is_asked_again(place, path, which, status):
    place.add(REPO, model_files(), library="mlx")
    place.fault(place.documents.get(path, path).format(REPO), Refuse(status), Refuse(status, {"retry-after": "0"}))
    assert both(source(place))[which]()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("status", [429, 500])
def test_a_hub_that_stays_busy_is_given_up(place, which, status):
    place.everything = Refuse(status)
    with pytest.raises(UnreachableError, match=f"{place.url} answered {status}"):
        both(source(place))[which]()
    assert len(place.requests) == 3


@pytest.mark.parametrize("which", [0, 1])
def test_a_hub_that_asks_for_a_longer_wait_than_anybody_has_is_given_up_at_once(place, which):
    place.everything = Refuse(429, {"retry-after": "3600"})
    with pytest.raises(UnreachableError, match="asks to come back in 3600 s"):
        both(source(place))[which]()
    assert len(place.requests) == 1


@pytest.mark.parametrize("which", [0, 1])
def test_a_hub_that_never_answers_is_left_by_its_connections(place, which):
    place.everything = Stall(0)
    with pytest.raises(UnreachableError, match=f"{place.url} took too long"):
        both(source(place, read_seconds=0.05))[which]()
    assert len(place.requests) == 3


@pytest.mark.parametrize("which", [0, 1])
def test_and_in_the_end_whatever_its_connections_do(place, which):
    place.everything = Stall(0)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=f"{place.url} didn't answer within 0.2 s"):
        both(source(place, patience=Patience(seconds=0.2)))[which]()
    assert time.monotonic() - began < 5


def test_a_readme_that_stops_coming_does_not_keep_anybody(place):
    place.add(REPO, model_files() | {"README.md": b"word " * 10_000})
    place.fault("README.md", *[Stall(100)] * 3)
    with pytest.raises(UnreachableError, match="took too long"):
        source(place, read_seconds=0.05).card(REPO)


@pytest.mark.parametrize("which", [0, 1])
def test_nobody_listening_is_an_error_with_the_address(place, which):
    asked = source(place, endpoint="http://127.0.0.1:1")
    with pytest.raises(UnreachableError, match=r"the connection to http://127\.0\.0\.1:1 broke"):
        both(asked)[which]()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("endpoint", ["http://a b", "http://[::1", "http://x:99999", "ftp://x"])
def test_an_address_that_can_not_be_is_an_error(place, endpoint, which):
    with pytest.raises(DownloadError):
        both(source(place, endpoint=endpoint))[which]()


@pytest.mark.parametrize("which", [0, 1])
def test_offline_mode_says_so_and_makes_no_request(place, monkeypatch, which):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE"):
        both(source(place))[which]()
    assert place.requests == []


def test_a_askedgives_its_repositories(place):
    place.add(REPO, model_files())
    asked = source(place, read_seconds=30)
    assert (asked.kind, asked.endpoint) == (place.kind, place.url)
    assert WEIGHTS in {each.path for each in asked.repository(REPO).listing().files}


def test_several_may_ask_at_once(place):
    place.add(REPO, model_files(), library="mlx")
    asked, answers = source(place), []
    threads = [threading.Thread(target=lambda call=call: answers.append(call())) for call in both(asked) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
