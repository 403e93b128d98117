"""ModelScope's search and cards over HTTP: what is its own of them."""

import pytest

from omlx.downloads.errors import AccessError, DownloadError, EndpointError
from omlx.downloads.patience import Patience
from omlx.downloads.source import Found, Sort
from tests.fakes.downloads import REPO, model_files
from tests.fakes.file_server import GOOD, PLAIN, Refuse
from tests.fakes.modelscope import _Handler

QUICK = Patience(seconds=10, pause_seconds=0)


def fill(modelscope):
    modelscope.add("mlx-community/Qwen-4bit", {}, library="mlx", downloads=50, likes=3, updated="2025-03-01T00:00:00Z")
    modelscope.add("mlx-community/Qwen-8bit", {}, library="mlx", downloads=90, likes=2, gated=True)
    modelscope.add("Qwen/Qwen", {}, library="transformers", downloads=1000, likes=900, updated="2025-02-01T12:00:00Z")
    modelscope.add("org/bert-4bit", {}, library="mlx")
    modelscope.add("org/hidden-Qwen", {}, library="mlx", private=True, downloads=7)


def names(found):
    return [each.repository for each in found]


def test_a_search_brings_models_for_mlx_with_what_is_said_of_them(modelscope):
    fill(modelscope)
    assert modelscope.source().search("qwen") == [
        Found("mlx-community/Qwen-8bit", 90, 2, 1735689600, is_mlx=True, is_gated=True),
        Found("mlx-community/Qwen-4bit", 50, 3, 1740787200, is_mlx=True),
    ]
    assert names(modelscope.source().search("qwen 4bit")) == ["mlx-community/Qwen-4bit"]
    assert modelscope.source().search("nothing like it") == []


def test_it_may_bring_the_others_too(modelscope):
    fill(modelscope)
    found = modelscope.source().search("qwen", only_mlx=False)
    assert found[0] == Found("Qwen/Qwen", 1000, 900, 1738411200, is_mlx=False)
    assert len(found) == 3


@pytest.mark.parametrize(("sort", "first"), [(Sort.DOWNLOADS, "8bit"), (Sort.LIKES, "4bit"), (Sort.UPDATED, "4bit")])
def test_it_begins_with_the_most_or_the_latest_and_ends_at_the_limit(modelscope, sort, first):
    fill(modelscope)
    assert names(modelscope.source().search("qwen", sort=sort, limit=1)) == [f"mlx-community/Qwen-{first}"]


@pytest.mark.parametrize(("limit", "asked"), [(20, 1), (50, 1), (60, 2), (100, 2), (1000, 2)])
def test_more_than_an_answer_has_are_asked_for_in_several(modelscope, limit, asked):
    for number in range(120):
        modelscope.add(f"org/tiny-{number}", {}, library="mlx", downloads=number)
    found = modelscope.source(patience=QUICK).search("tiny", limit=limit)
    assert names(found) == [f"org/tiny-{119 - place}" for place in range(min(limit, 100))]
    assert len(modelscope.requests) == asked


def test_a_mirror_that_heeds_no_filter_brings_no_others(modelscope, monkeypatch):
    fill(modelscope)
    search = _Handler._search
    monkeypatch.setattr(_Handler, "_search", lambda self, asked: search(self, {**asked, "filter.library": None}))
    assert names(modelscope.source().search("qwen")) == ["mlx-community/Qwen-8bit", "mlx-community/Qwen-4bit"]


def test_a_token_finds_what_is_private_and_appears_in_no_error(modelscope):
    fill(modelscope)
    assert "org/hidden-Qwen" in names(modelscope.source(GOOD).search("qwen"))
    with pytest.raises(AccessError, match="refused the token") as caught:
        modelscope.source("ms-expired").search("qwen")
    assert "ms-expired" not in str(caught.value)


@pytest.mark.parametrize(
    "models", [{}, [{"name": "x"}], [{"id": 7}], [[]], [{"id": "a/b", "last_modified": "soon"}], [{"id": "a/b", "tags": 7}]]
)
def test_an_answer_of_another_shape_is_named(modelscope, monkeypatch, models):
    monkeypatch.setattr(_Handler, "_search", lambda self, _asked: self._give_new({"models": models}))
    with pytest.raises(EndpointError, match="doesn't answer as ModelScope does"):
        modelscope.source(patience=QUICK).search("tiny")


@pytest.mark.parametrize(
    ("described", "found"),
    [
        ({"id": "a/b", "last_modified": 1735689600000}, Found("a/b", updated=1735689600)),
        ({"id": "a/b", "last_modified": "2025-01-01T00:00:00"}, Found("a/b", updated=1735689600)),
        ({"id": "a/b", "downloads": "many", "likes": None, "tags": None}, Found("a/b")),
        ({"id": "a/b", "tags": ["custom_tag:mlx"], "downloads": 3}, Found("a/b", 3, is_mlx=True)),
    ],
)
def test_what_is_not_said_is_not_known(modelscope, monkeypatch, described, found):
    monkeypatch.setattr(_Handler, "_search", lambda self, _asked: self._give_new({"models": [described]}))
    assert modelscope.source().search("b", only_mlx=False) == [found]


@pytest.mark.parametrize(
    ("more", "license_name"),
    [
        ({"card": {"license": "mit"}}, "mit"),
        ({"tags": ("license:gemma",)}, "gemma"),
        ({"card": {"license": "\x1b[2J"}}, None),
        ({}, None),
    ],
)
def test_the_licence_is_the_one_that_is_named(modelscope, more, license_name):
    modelscope.add(REPO, model_files(), **more)
    assert modelscope.source().card(REPO).license == license_name


def test_a_private_model_has_a_card_of_its_files_for_who_may_see_it(modelscope):
    modelscope.add(REPO, model_files(), private=True, downloads=9)
    with pytest.raises(AccessError, match="is private or gated"):
        modelscope.source(PLAIN).card(REPO)
    card = modelscope.source(GOOD).card(REPO)
    assert (card.found, card.problem, card.license) == (Found(REPO), None, None)
    assert card.fetched


def test_a_name_that_is_not_there_brings_those_like_it_and_never_an_error(modelscope):
    fill(modelscope)
    place = modelscope.source()
    assert place.nearest("mlx-community/Qwen-4bti")[0] == "mlx-community/Qwen-4bit"
    for modelscope.everything in ("page", "missing", Refuse(403, {})):
        assert place.nearest("org/name") == []


def test_a_place_that_lets_nobody_in_is_named(modelscope):
    modelscope.everything = Refuse(403)
    for call in (lambda place: place.search("tiny"), lambda place: place.card(REPO)):
        with pytest.raises(DownloadError, match=f"{modelscope.url} gives no access to "):
            call(modelscope.source(patience=QUICK))
