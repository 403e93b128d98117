"""Downloads take turns, rest, are given up, tried again, and outlive the process."""

import json
import threading

import pytest

from omlx.downloads import download_queue
from omlx.downloads.download_queue import DownloadQueue
from omlx.downloads.errors import (
    AccessError,
    OccupiedError,
    TooManyError,
    UnknownTaskError,
    UnsuitableError,
)
from omlx.downloads.progress import Progress
from omlx.downloads.task import State, Wish
from omlx.downloads.task_file import TaskFile
from tests.fakes.fetching import HeldFetching


def wish(name, repository=None, **more):
    return Wish("hf", repository or f"org/{name}", name, **more)


class World:
    """A queue over a folder, what it fetches, and whoever waits for a state."""

    def __init__(self, base, at_once=1):
        self.file = TaskFile(base)
        self.fetching = HeldFetching()
        self._changed = threading.Event()
        self.queue = DownloadQueue(self.file, self.fetching, self._changed.set, lambda: at_once)
        self.queue.begin()

    def states(self):
        return {task.wish.name: task.state for task in self.queue.tasks()}

    def wait(self, **wanted):
        while {**self.states(), **wanted} != self.states():
            assert self._changed.wait(10), f"{self.states()} and not {wanted}"
            self._changed.clear()

    def task(self, name):
        return next(task for task in self.queue.tasks() if task.wish.name == name)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.queue.close()


def test_they_take_turns_in_the_order_in_which_they_were_wished(world):
    for name in ("a", "b", "c"):
        world.queue.add(wish(name))
    assert world.states() == {"a": State.DOWNLOADING, "b": State.QUEUED, "c": State.QUEUED}
    world.fetching.nth(0).end()
    world.wait(a=State.DONE, b=State.DOWNLOADING)
    world.fetching.nth(1).end(AccessError("It is gated."))
    world.wait(b=State.FAILED, c=State.DOWNLOADING)
    assert world.task("b").error == "It is gated."


def test_as_many_at_once_as_may(tmp_path):
    world = World(tmp_path, at_once=2)
    for name in ("a", "b", "c"):
        world.queue.add(wish(name))
    assert list(world.states().values()) == [State.DOWNLOADING, State.DOWNLOADING, State.QUEUED]
    world.queue.close()


def test_what_is_wished_twice_is_one_task(world):
    first = world.queue.add(wish("a"))
    assert world.queue.add(wish("a")).task_id == first.task_id
    world.fetching.nth(0).end(AccessError("no"))
    world.wait(a=State.FAILED)
    again = world.queue.add(wish("a"))
    assert (again.task_id, again.state, again.error) == (first.task_id, State.DOWNLOADING, None)
    world.fetching.nth(1).end()
    world.wait(a=State.DONE)
    assert world.queue.add(wish("a")).task_id != first.task_id  # the folder may have been deleted since


def test_another_model_can_t_have_the_folder_of_one_that_is_fetched(world):
    world.queue.add(wish("a"))
    with pytest.raises(OccupiedError, match="org/a is being fetched"):
        world.queue.add(wish("a", "other/a"))
    with pytest.raises(UnsuitableError):
        world.queue.add(wish("../a"))
    assert len(world.queue.tasks()) == 1


def test_no_more_wait_than_may(world, monkeypatch):
    monkeypatch.setattr(download_queue, "_MOST", 2)
    world.queue.add(wish("a"))
    world.queue.add(wish("b"))
    with pytest.raises(TooManyError):
        world.queue.add(wish("c"))
    world.queue.cancel(world.task("b").task_id)
    world.queue.add(wish("c"))


def test_the_oldest_that_ended_are_forgotten(world, monkeypatch):
    monkeypatch.setattr(download_queue, "_REMEMBERED", 1)
    for number, name in enumerate(("a", "b")):
        world.queue.add(wish(name))
        world.fetching.nth(number).end()
        world.wait(**{name: State.DONE})
    world.queue.add(wish("c"))
    assert list(world.states()) == ["b", "c"]


def test_one_that_rests_keeps_what_has_come_and_lets_the_next_begin(world):
    task = world.queue.add(wish("a"))
    world.queue.add(wish("b"))
    first = world.fetching.nth(0)
    assert world.queue.pause(task.task_id).state is State.PAUSED
    assert first.is_cancelled
    world.fetching.nth(1)
    assert world.states() == {"a": State.PAUSED, "b": State.DOWNLOADING}
    assert world.queue.retry(task.task_id).state is State.QUEUED
    world.fetching.nth(1).end()
    world.fetching.nth(2)
    assert world.states() == {"a": State.DOWNLOADING, "b": State.DONE}
    assert world.fetching.discarded == []


def test_one_that_is_wished_again_before_it_has_ended_waits_for_that(world):
    task = world.queue.add(wish("a"))
    first = world.fetching.nth(0)
    first.may_leave.clear()
    world.queue.pause(task.task_id)
    assert world.queue.retry(task.task_id).state is State.QUEUED
    assert len(world.fetching.opened) == 1  # two would write to the same files
    first.may_leave.set()
    world.fetching.nth(1).end()
    world.wait(a=State.DONE)


@pytest.mark.parametrize("state", ["downloading", "queued", "paused", "failed"])
def test_what_is_given_up_leaves_nothing_behind(world, state):
    if state == "queued":
        world.queue.add(wish("first"))
    task = world.queue.add(wish("a"))
    if state == "paused":
        world.queue.pause(task.task_id)
    if state == "failed":
        world.fetching.nth(0).end(AccessError("no"))
        world.wait(a=State.FAILED)
    assert world.queue.cancel(task.task_id).state is State.CANCELLED
    for thread in list(world.queue._threads.values())[: 0 if state == "queued" else None]:
        thread.join(10)
    assert world.fetching.discarded == [wish("a")]
    assert world.queue.retry(task.task_id).state in (State.QUEUED, State.DOWNLOADING)


def test_one_that_is_done_can_be_neither_paused_nor_cancelled_but_forgotten(world):
    task = world.queue.add(wish("a"))
    world.fetching.nth(0).end()
    world.wait(a=State.DONE)
    assert world.queue.pause(task.task_id).state is State.DONE
    assert world.queue.cancel(task.task_id).state is State.DONE
    world.queue.forget(task.task_id)
    assert (world.queue.tasks(), world.fetching.discarded) == ([], [])


def test_forgetting_one_that_is_fetched_gives_it_up(world):
    task = world.queue.add(wish("a"))
    world.fetching.nth(0)
    (thread,) = world.queue._threads.values()
    world.queue.forget(task.task_id)
    thread.join(10)
    assert (world.queue.tasks(), world.fetching.discarded) == ([], [wish("a")])


@pytest.mark.parametrize("verb", ["pause", "cancel", "retry", "forget"])
def test_a_task_that_isn_t_there(world, verb):
    with pytest.raises(UnknownTaskError, match="nope"):
        getattr(world.queue, verb)("nope")


def test_how_it_goes_is_told_and_not_after_it_was_stopped(world):
    task = world.queue.add(wish("a"))
    watcher = world.fetching.nth(0).watcher
    watcher.progress(Progress(1, 2, 0, 1))
    watcher.trouble("the line is bad")
    assert (world.task("a").progress, world.task("a").note) == (Progress(1, 2, 0, 1), "the line is bad")
    world.queue.pause(task.task_id)
    watcher.progress(Progress(2, 2, 1, 1))
    assert world.task("a").progress == Progress(1, 2, 0, 1)


def test_a_failure_that_nothing_foresaw_is_one_task_s(world):
    world.queue.add(wish("a"))
    world.fetching.nth(0).end(ZeroDivisionError("oops"))
    world.wait(a=State.FAILED)
    assert "oops" in world.task("a").error
    world.queue.add(wish("b"))
    world.fetching.nth(1)


def test_they_go_on_in_the_next_process(tmp_path):
    world = World(tmp_path)
    for name in ("a", "b", "c", "d"):
        world.queue.add(wish(name, revision="v1", allow=("*.json",)))
    world.queue.pause(world.task("b").task_id)
    world.queue.cancel(world.task("c").task_id)
    world.fetching.nth(0).watcher.progress(Progress(5, 10, 1, 3))
    world.queue.pause(world.task("d").task_id)
    # As after SIGKILL: nothing is told to end.
    after = World(tmp_path)
    assert after.states() == {"a": State.DOWNLOADING, "b": State.PAUSED, "c": State.CANCELLED, "d": State.PAUSED}
    assert after.fetching.nth(0).wish == wish("a", revision="v1", allow=("*.json",))
    assert after.task("a").progress == Progress(5, 10, 1, 3)
    for each in (world, after):
        each.queue.close()


def test_closing_ends_them_and_leaves_them_to_be_gone_on_with(world, tmp_path):
    world.queue.add(wish("a"))
    download = world.fetching.nth(0)
    world.queue.close()
    assert download.is_cancelled
    assert [task.state for task in TaskFile(tmp_path).read()] == [State.DOWNLOADING]
    assert world.fetching.discarded == []


def test_a_broken_list_is_kept_aside(tmp_path):
    (tmp_path / "downloads.json").write_text("{")
    assert World(tmp_path).states() == {}
    assert [each.read_text() for each in tmp_path.glob("downloads.json.corrupt-*")] == ["{"]


def test_a_broken_task_is_left_out(world, tmp_path):
    world.queue.add(wish("a"))
    file = tmp_path / "downloads.json"
    content = json.loads(file.read_text())
    content["tasks"] += [{"id": "x"}, 7, content["tasks"][0] | {"state": "asleep"}]
    file.write_text(json.dumps(content))
    assert [task.wish.name for task in TaskFile(tmp_path).read()] == ["a"]


def test_a_disk_that_is_full_stops_nobody(world, monkeypatch):
    def full(_tasks):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world.file, "write", full)
    world.queue.add(wish("a"))
    world.fetching.nth(0).end()
    world.wait(a=State.DONE)


def test_what_could_not_be_deleted_is_deleted_by_the_next_process(world, tmp_path):
    task = world.queue.add(wish("a"))
    download = world.fetching.nth(0)
    download.watcher.progress(Progress(1, 2, 0, 1))
    download.may_leave.clear()
    world.queue.cancel(task.task_id)
    assert world.fetching.discarded == []
    after = World(tmp_path)
    assert (after.fetching.discarded, after.task("a").progress) == ([wish("a")], None)
    assert World(tmp_path).fetching.discarded == []
    download.may_leave.set()


def test_giving_one_up_takes_nothing_from_another_that_goes_on(world):
    task = world.queue.add(wish("a", revision="old"))
    world.fetching.nth(0).end(AccessError("no"))
    world.wait(a=State.FAILED)
    world.queue.add(wish("a", revision="new"))
    world.queue.cancel(task.task_id)
    assert world.fetching.discarded == []
