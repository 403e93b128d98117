"""A hub's search and cards over HTTP, through the client that everybody uses: what is told, and an error in time for whatever else."""

import json
import threading
import time

import huggingface_hub
import pytest

from omlx.downloads.errors import (
    AccessError,
    DownloadError,
    EndpointError,
    OfflineError,
    UnknownModelError,
    UnknownRevisionError,
    UnreachableError,
)
from omlx.downloads.hub import Hub
from omlx.downloads.hub_source import HubSource
from omlx.downloads.patience import Patience
from omlx.downloads.source import Found, Sort
from tests.fakes.downloads import REPO, WANTED, WEIGHTS, model_files
from tests.fakes.file_server import GOOD, PLAIN, Page, Refuse, Stall

QUICK = Patience(seconds=10, pause_seconds=0)
EVERYTHING = ["page", "missing", Refuse(200, {"content-type": "application/json"}), Refuse(418, {})]


def source(hub, token=None, patience=QUICK, **limits):
    return HubSource(Hub(hub.url, token, **limits), patience)


def fill(hub):
    hub.add("mlx-community/Qwen-4bit", {}, library="mlx", downloads=50, likes=3, updated="2025-03-01T00:00:00.000Z")
    hub.add("mlx-community/Qwen-8bit", {}, tags=("mlx", "text-generation"), downloads=90, likes=2, gated=True)
    hub.add("Qwen/Qwen", {}, library="transformers", downloads=1000, likes=900, updated="2025-02-01T12:00:00.000Z")
    hub.add("org/bert-4bit", {}, library="mlx")
    hub.add("org/hidden-Qwen", {}, library="mlx", private=True, downloads=7)


def names(found):
    return [each.repository for each in found]


def both(place):
    """The two calls that must end well or with a `DownloadError`."""
    return [lambda: place.search("tiny"), lambda: place.card(REPO)]


def test_a_search_brings_models_for_mlx_with_what_the_hub_says_of_them(hub):
    fill(hub)
    assert source(hub).search("qwen") == [
        Found("mlx-community/Qwen-8bit", 90, 2, 1735689600, is_mlx=True, is_gated=True),
        Found("mlx-community/Qwen-4bit", 50, 3, 1740787200, is_mlx=True),
    ]
    assert names(source(hub).search("qwen 4bit")) == ["mlx-community/Qwen-4bit"]
    assert source(hub).search("nothing like it") == []


def test_it_may_bring_the_others_too(hub):
    fill(hub)
    found = source(hub).search("qwen", only_mlx=False)
    assert found[0] == Found("Qwen/Qwen", 1000, 900, 1738411200, is_mlx=False)
    assert len(found) == 3


@pytest.mark.parametrize(("sort", "first"), [(Sort.DOWNLOADS, "8bit"), (Sort.LIKES, "4bit"), (Sort.UPDATED, "4bit")])
def test_it_begins_with_the_most_or_the_latest_and_ends_at_the_limit(hub, sort, first):
    fill(hub)
    assert names(source(hub).search("qwen", sort=sort, limit=1)) == [f"mlx-community/Qwen-{first}"]


def test_it_asks_as_the_library_does(hub):
    fill(hub)
    ours = source(hub).search("qwen", sort=Sort.UPDATED, limit=5)
    expand = ["downloads", "likes", "lastModified", "gated", "library_name", "tags"]
    api = huggingface_hub.HfApi(hub.url, token=False)
    theirs = list(api.list_models(search="qwen", sort="last_modified", limit=5, filter="mlx", expand=expand))
    assert names(ours) == [each.id for each in theirs]
    queries = [sorted(each.path.partition("?")[2].split("&")) for each in hub.requests]
    assert queries[0] == queries[1]


def test_a_token_finds_what_is_private_and_appears_in_no_error(hub):
    fill(hub)
    assert "org/hidden-Qwen" in names(source(hub, GOOD).search("qwen"))
    with pytest.raises(AccessError, match="refused the token") as caught:
        source(hub, "hf_expired").search("qwen")
    assert "hf_expired" not in str(caught.value)


def test_names_that_a_terminal_would_obey_are_left_out(hub):
    hub.add("org/tiny\x1b[2J", {}, library="mlx")
    hub.add("org/tiny", {}, library="mlx")
    assert names(source(hub).search("tiny")) == ["org/tiny"]


@pytest.mark.parametrize("answer", [{"models": []}, [{"name": "x"}], [{"id": 7}], [[]], [{"id": "a/b", "lastModified": "soon"}]])
def test_an_answer_of_another_shape_is_named(hub, monkeypatch, answer):
    monkeypatch.setattr("tests.fakes.hub._Handler._search", lambda self, _query: self.send_json(answer))
    with pytest.raises(EndpointError, match="doesn't answer as the Hugging Face Hub does"):
        source(hub).search("tiny")


def test_a_card_says_what_would_be_fetched_and_what_of(hub):
    files = model_files() | {"README.md": b"---\nlicense: mit\n---\n# Tiny\n\x1b[2Jtext"}
    commit = hub.add(REPO, files, library="mlx", downloads=5, likes=1, card={"license": "apache-2.0"})
    card = source(hub).card(REPO)
    assert card.found == Found(REPO, 5, 1, 1735689600, is_mlx=True)
    assert (card.commit, card.license, card.text, card.problem) == (commit, "apache-2.0", "# Tiny\n[2Jtext", None)
    assert sorted(card.fetched) == WANTED
    assert {each.path for each in card.files} == set(files)
    assert card.memory_bytes is not None


def test_a_card_of_another_revision(hub):
    hub.add(REPO, model_files() | {"README.md": b"old"}, revision="v1")
    hub.add(REPO, model_files())
    assert source(hub).card(REPO, "v1").text == "old"
    with pytest.raises(UnknownRevisionError):
        source(hub).card(REPO, "v2")


@pytest.mark.parametrize(
    ("more", "license_name"),
    [
        ({"card": {"license": "other", "license_name": "llama3"}}, "llama3"),
        ({"card": {"license": ["mit", "apache-2.0"]}}, "mit, apache-2.0"),
        ({"tags": ("mlx", "license:gemma")}, "gemma"),
        ({"card": {"license": "\x1b[2J"}}, None),
        ({}, None),
    ],
)
def test_the_licence_is_the_one_that_is_named(hub, more, license_name):
    hub.add(REPO, model_files(), **more)
    assert source(hub).card(REPO).license == license_name


def test_a_model_without_weights_for_mlx_has_a_card_that_says_so(hub):
    hub.add(REPO, {"model.gguf": b"x", "README.md": b"hello"})
    card = source(hub).card(REPO)
    assert (card.fetched, card.memory_bytes, card.text) == ((), None, "hello")
    assert "GGUF" in card.problem


def test_no_name_of_a_file_is_trusted(hub):
    hub.add(REPO, model_files() | {"a/../../b.json": b"{}"})
    card = source(hub).card(REPO)
    assert card.fetched == ()
    assert "it leads elsewhere" in card.problem


def test_words_of_packed_weights_count_as_what_is_in_them(hub):
    config = {"model_type": "llama", "quantization": {"bits": 4, "group_size": 64}}
    files = model_files(kilobytes=1000) | {"config.json": json.dumps(config).encode()}
    hub.add("org/packed", files, counts={"U32": 200_000, "BF16": 30_000})
    hub.add("org/unpacked", files, counts={"U32": 1_600_000, "BF16": 30_000})
    hub.add("org/untold", files)
    packed, unpacked, untold = (source(hub).card(f"org/{each}").memory_bytes for each in ("packed", "unpacked", "untold"))
    assert packed == unpacked
    assert abs(packed - untold) < 4 * 300_000


def test_of_long_files_no_more_is_read_than_is_shown(hub):
    hub.add(REPO, model_files() | {"README.md": b"# Long\n" + b"word " * 4_000_000})
    assert len(source(hub).card(REPO).text) == 64 << 10
    assert hub.sent["README.md"] < 20_000_000


@pytest.mark.parametrize("token", [None, PLAIN])
def test_a_gated_model_has_a_card_that_says_how_to_get_it(hub, token):
    hub.add(REPO, model_files(), gated=True, counts={"F32": 100_000})
    card = source(hub, token).card(REPO)
    assert card.found.is_gated
    assert f"{hub.url}/{REPO}" in card.problem
    assert (sorted(card.fetched), card.text) == (WANTED, "")
    assert card.memory_bytes is not None
    assert source(hub, GOOD).card(REPO).problem is None


def test_a_private_model_has_a_card_for_who_may_see_it(hub):
    hub.add(REPO, model_files(), private=True)
    with pytest.raises(UnknownModelError, match="it is private"):
        source(hub).card(REPO)
    assert source(hub, GOOD).card(REPO).problem is None


@pytest.mark.parametrize("name", ["org/nothing", "no name", "../x"])
def test_a_model_that_is_not_there_has_none(hub, name):
    with pytest.raises(UnknownModelError):
        source(hub).card(name)


@pytest.mark.parametrize("everything", EVERYTHING)
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_no_hub_is_named(hub, everything, which):
    hub.everything = everything
    with pytest.raises(EndpointError, match=hub.url):
        both(source(hub))[which]()


@pytest.mark.parametrize("which", [0, 1])
def test_a_hub_that_lets_nobody_in_is_named(hub, which):
    hub.everything = Refuse(403, {"x-error-message": "\x1b[2JNo."})
    with pytest.raises(AccessError) as caught:
        both(source(hub))[which]()
    assert str(caught.value).startswith(f"{hub.url} gives no access to ")
    assert "\x1b" not in str(caught.value)


def test_a_page_instead_of_a_readme_is_named(hub):
    hub.add(REPO, model_files())
    hub.fault("README.md", Page())
    with pytest.raises(EndpointError, match=r"sent a web page instead of README\.md"):
        source(hub).card(REPO)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(("path", "which"), [("api/models", 0), (f"api/models/{REPO}", 1), ("config.json", 1)])
def test_a_hub_that_is_busy_for_a_moment_is_asked_again(hub, path, which, status):
    hub.add(REPO, model_files(), library="mlx")
    hub.fault(path, Refuse(status), Refuse(status, {"retry-after": "0"}))
    assert both(source(hub))[which]()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("status", [429, 500])
def test_a_hub_that_stays_busy_is_given_up(hub, which, status):
    hub.everything = Refuse(status)
    with pytest.raises(UnreachableError, match=f"{hub.url} answered {status}"):
        both(source(hub))[which]()
    assert len(hub.requests) == 3


@pytest.mark.parametrize("which", [0, 1])
def test_a_hub_that_asks_for_a_longer_wait_than_anybody_has_is_given_up_at_once(hub, which):
    hub.everything = Refuse(429, {"retry-after": "3600"})
    with pytest.raises(UnreachableError, match="asks to come back in 3600 s"):
        both(source(hub))[which]()
    assert len(hub.requests) == 1


@pytest.mark.parametrize("which", [0, 1])
def test_a_hub_that_never_answers_is_left_by_its_connections(hub, which):
    hub.everything = Stall(0)
    with pytest.raises(UnreachableError, match=f"{hub.url} took too long"):
        both(source(hub, read_seconds=0.05))[which]()
    assert len(hub.requests) == 3


@pytest.mark.parametrize("which", [0, 1])
def test_and_in_the_end_whatever_its_connections_do(hub, which):
    hub.everything = Stall(0)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=f"{hub.url} didn't answer within 0.2 s"):
        both(source(hub, patience=Patience(seconds=0.2)))[which]()
    assert time.monotonic() - began < 5


def test_a_readme_that_stops_coming_does_not_keep_anybody(hub):
    hub.add(REPO, model_files() | {"README.md": b"word " * 10_000})
    hub.fault("README.md", *[Stall(100)] * 3)
    with pytest.raises(UnreachableError, match="took too long"):
        source(hub, read_seconds=0.05).card(REPO)


@pytest.mark.parametrize("which", [0, 1])
def test_nobody_listening_is_an_error_with_the_address(which):
    place = HubSource(Hub("http://127.0.0.1:1"), QUICK)
    with pytest.raises(UnreachableError, match=r"the connection to http://127\.0\.0\.1:1 broke"):
        both(place)[which]()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("endpoint", ["http://a b", "http://[::1", "http://x:99999", "ftp://x"])
def test_an_address_that_can_not_be_is_an_error(hub_environment, endpoint, which):
    with pytest.raises(DownloadError):
        both(HubSource(Hub(endpoint), QUICK))[which]()


@pytest.mark.parametrize("which", [0, 1])
def test_offline_mode_says_so_and_makes_no_request(hub, monkeypatch, which):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE"):
        both(source(hub))[which]()
    assert hub.requests == []


def test_a_source_gives_its_repositories(hub):
    hub.add(REPO, model_files())
    place = source(hub, read_seconds=30)
    assert (place.kind, place.endpoint) == ("hf", hub.url)
    assert WEIGHTS in {each.path for each in place.repository(REPO).listing().files}


def test_several_may_ask_at_once(hub):
    hub.add(REPO, model_files(), library="mlx")
    place, answers = source(hub), []
    threads = [threading.Thread(target=lambda call=call: answers.append(call())) for call in both(place) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
