"""A hub's search and cards over HTTP, through the client that everybody uses: what is told, and an error in time for whatever else."""

import json

import huggingface_hub
import pytest

from omlx.downloads.errors import (
    AccessError,
    EndpointError,
    UnknownModelError,
)
from omlx.downloads.hub import Hub
from omlx.downloads.hub_source import HubSource
from omlx.downloads.patience import Patience
from omlx.downloads.source import Found, Sort
from tests.fakes.downloads import REPO, WANTED, model_files
from tests.fakes.file_server import GOOD, PLAIN, Refuse

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


@pytest.mark.parametrize("answer", [{"models": []}, [{"name": "x"}], [{"id": 7}], [[]], [{"id": "a/b", "lastModified": "soon"}]])
def test_an_answer_of_another_shape_is_named(hub, monkeypatch, answer):
    monkeypatch.setattr("tests.fakes.hub._Handler._search", lambda self, _query: self.send_json(answer))
    with pytest.raises(EndpointError, match="doesn't answer as the Hugging Face Hub does"):
        source(hub).search("tiny")


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


def test_words_of_packed_weights_count_as_what_is_in_them(hub):
    config = {"model_type": "llama", "quantization": {"bits": 4, "group_size": 64}}
    files = model_files(kilobytes=1000) | {"config.json": json.dumps(config).encode()}
    hub.add("org/packed", files, counts={"U32": 200_000, "BF16": 30_000})
    hub.add("org/unpacked", files, counts={"U32": 1_600_000, "BF16": 30_000})
    hub.add("org/untold", files)
    packed, unpacked, untold = (source(hub).card(f"org/{each}").memory_bytes for each in ("packed", "unpacked", "untold"))
    assert packed == unpacked
    assert abs(packed - untold) < 4 * 300_000


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


@pytest.mark.parametrize("which", [0, 1])
def test_a_hub_that_lets_nobody_in_is_named(hub, which):
    hub.everything = Refuse(403, {"x-error-message": "\x1b[2JNo."})
    with pytest.raises(AccessError) as caught:
        both(source(hub))[which]()
    assert str(caught.value).startswith(f"{hub.url} gives no access to ")
    assert "\x1b" not in str(caught.value)
