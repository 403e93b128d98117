"""A name that isn't there brings those that are like it, and never an error or a long wait."""

import threading

from omlx.downloads.hub import Hub
from omlx.downloads.hub_source import HubSource
from omlx.downloads.nearest import nearest
from tests.fakes.file_server import Refuse

THERE = (
    "mlx-community/Qwen3-0.6B-4bit",
    "mlx-community/Qwen3-0.6B-8bit",
    "mlx-community/Qwen3-4B-4bit",
    "org/bert",
    "Qwen/Qwen3-0.6B",
)


def fill(hub):
    for name in THERE:
        hub.add(name, {})


def test_a_typing_error_at_the_end_is_found(hub):
    fill(hub)
    assert HubSource(Hub(hub.url)).nearest("mlx-community/Qwen3-0.6B-4bti")[0] == "mlx-community/Qwen3-0.6B-4bit"


def test_a_missing_organization_is_found(hub):
    fill(hub)
    assert HubSource(Hub(hub.url)).nearest("Qwen3-4B-4bit") == ["mlx-community/Qwen3-4B-4bit"]


def test_three_are_shown_at_most_and_none_that_has_nothing_in_common(hub):
    fill(hub)
    assert len(HubSource(Hub(hub.url)).nearest("x/qwen3-9")) == 3
    assert HubSource(Hub(hub.url)).nearest("x/zzz-1-2-3-4-5-6-7-8") == []
    assert len([each for each in hub.requests if "zzz" in each.path]) == 4


def test_a_hub_that_can_not_search_gives_none(hub):
    for hub.everything in ("page", "missing", Refuse(403, {})):
        assert HubSource(Hub(hub.url)).nearest("org/name") == []


def test_a_place_that_does_not_answer_in_time_gives_none():
    asked, answer = threading.Event(), threading.Event()

    def search(_words):
        asked.set()
        answer.wait()
        return ["late"]

    assert nearest(search, "org/name", seconds=0.01) == []
    assert asked.wait(10)
    answer.set()


def test_no_name_is_searched_for_where_there_is_none(hub):
    assert HubSource(Hub(hub.url)).nearest("org/") == []
    assert hub.requests == []
