"""The server's downloads in their own process, against a hub over HTTP: faults, ends, kills."""

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager, suppress

import pytest

from actors.catalog.discovery import Discovery
from omlx.api.errors import RequestError
from omlx.downloads.service import DownloadService
from omlx.settings import decide
from tests.fakes.downloads import NAME, REPO, WANTED, WEIGHTS, model_files
from tests.fakes.file_server import Cut, Page, Refuse, Stall, Wrong
from tests.fakes.hub import fake_hub

FILES = model_files(kilobytes=2000)
SIZE = len(FILES[WEIGHTS])
WISH = {"repository": REPO, "name": NAME, "revision": None, "allow": [], "ignore": []}


@pytest.fixture
def hub():
    with fake_hub() as running:
        running.add(REPO, FILES)
        yield running


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def settings(hub, base, **given):
    return decide(base, {"hf_endpoint": hub.url, **given}, {}, base / "cache")


@asynccontextmanager
async def service(hub, base, is_answering=lambda: False, **given):
    downloads = DownloadService(settings(hub, base, **given), is_answering)
    await downloads.start()
    try:
        yield downloads
    finally:
        await downloads.stop()


async def when(downloads, condition, source="hf"):
    """The tasks, once a condition holds for them."""
    async with asyncio.timeout(30):
        async for tasks in downloads.watch(source):
            if condition(tasks):
                return tasks
    raise AssertionError


async def ended(downloads, task):
    tasks = await when(
        downloads, lambda tasks: any(each["id"] == task["id"] and each["state"] in ("done", "failed") for each in tasks)
    )
    return next(each for each in tasks if each["id"] == task["id"])


def test_a_wish_becomes_a_model(hub, tmp_path, models):
    async def run():
        async with service(hub, tmp_path) as downloads:
            assert downloads.pid is None  # nothing was left unfinished
            task = await downloads.add("hf", WISH)
            return await ended(downloads, task), await downloads.tasks("modelscope")

    task, others = asyncio.run(run())
    assert (task["state"], task["error"], others) == ("done", None, [])
    assert task["progress"]["done"] == task["progress"]["total"] == sum(len(FILES[name]) for name in WANTED)
    assert list(Discovery([models]).scan().models) == [NAME]
    assert (tmp_path / "logs/downloads.log").is_file()
    assert [task["state"] for task in json.loads((tmp_path / "downloads.json").read_text())["tasks"]] == ["done"]


def test_searches_and_cards(hub, tmp_path):
    async def run():
        async with service(hub, tmp_path) as downloads:
            found = await downloads.search("hf", "tiny", sort="downloads", limit=5, only_mlx=False)
            card = await downloads.card("hf", REPO, None)
            with pytest.raises(RequestError) as missing:
                await downloads.card("hf", "org/none", None)
            return found, card, missing.value

    found, card, missing = asyncio.run(run())
    assert found["endpoint"] == hub.url
    assert [each["repository"] for each in found["models"]] == [REPO]
    assert sorted(file["path"] for file in card["files"] if file["is_fetched"]) == WANTED
    assert (missing.status, missing.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("repository", "faults", "words"),
    [
        ("org/tiny-lama", (), "Did you mean org/tiny-llama?"),
        (REPO, (Page(),), "web page"),
        (REPO, (Wrong(b"x" * SIZE),) * 2, "checksum"),
        (REPO, (Refuse(403),), "no access"),
    ],
)
def test_why_one_failed_and_the_retry_that_finishes_it(hub, tmp_path, models, repository, faults, words):
    async def run():
        hub.fault(WEIGHTS, *faults)
        async with service(hub, tmp_path) as downloads:
            failed = await ended(downloads, await downloads.add("hf", {**WISH, "repository": repository}))
            assert Discovery([models]).scan().models == {}
            hub.add(repository, FILES)
            retried = await downloads.change(failed["id"], "retry")
            assert retried["error"] is None
            return failed, await ended(downloads, failed)

    failed, done = asyncio.run(run())
    assert (failed["state"], done["state"]) == ("failed", "done")
    assert words in failed["error"]


def test_cut_lines_are_told_and_gone_on_with(hub, tmp_path):
    hub.fault(WEIGHTS, Cut(SIZE // 3), Stall(SIZE // 3))

    async def run():
        async with service(hub, tmp_path) as downloads:
            task = await downloads.add("hf", WISH)
            tasks = await when(downloads, lambda tasks: tasks and tasks[0]["note"])
            hub.may_go_on.set()
            return tasks[0]["note"], await ended(downloads, task)

    note, task = asyncio.run(run())
    assert WEIGHTS in note
    assert (task["state"], task["note"]) == ("done", None)


def stalls_in_the_middle(hub):
    hub.fault(WEIGHTS, Stall(SIZE // 2))
    return sum(len(FILES[name]) for name in WANTED) - SIZE + SIZE // 2


def reached(count):
    return lambda tasks: tasks and tasks[0]["progress"] and tasks[0]["progress"]["done"] >= count


def test_pausing_keeps_what_has_come_and_cancelling_doesn_t(hub, tmp_path, models):
    middle = stalls_in_the_middle(hub)

    async def run():
        async with service(hub, tmp_path) as downloads:
            task = await downloads.add("hf", WISH)
            await when(downloads, reached(middle))
            assert (await downloads.change(task["id"], "pause"))["state"] == "paused"
            hub.may_go_on.set()
            await downloads.change(task["id"], "retry")
            done = await ended(downloads, task)
            assert hub.asked(WEIGHTS)[-1].headers["Range"] == f"bytes={SIZE // 2}-"
            hub.may_go_on.clear()
            hub.stalled.clear()
            stalls_in_the_middle(hub)
            other = await downloads.add("hf", {**WISH, "name": "other"})
            await when(downloads, lambda tasks: reached(middle)(tasks[1:]))
            await downloads.change(other["id"], "cancel")
            return done

    assert asyncio.run(run())["state"] == "done"
    assert (models / ".pull-other").exists()  # a read in silence has kept it until the end
    hub.may_go_on.set()

    async def run_again():
        async with service(hub, tmp_path) as downloads:
            await when(downloads, lambda tasks: tasks[1]["progress"] is None)

    asyncio.run(run_again())
    assert sorted(each.name for each in models.iterdir()) == [NAME]


def test_killed_it_is_started_again_and_goes_on(hub, tmp_path, models):
    middle = stalls_in_the_middle(hub)

    async def run():
        async with service(hub, tmp_path) as downloads:
            task = await downloads.add("hf", WISH)
            await when(downloads, reached(middle))
            os.kill(downloads.pid, signal.SIGKILL)
            hub.may_go_on.set()
            return await ended(downloads, task)

    assert asyncio.run(run())["state"] == "done"
    assert hub.asked(WEIGHTS)[-1].headers["Range"] == f"bytes={SIZE // 2}-"
    assert list(Discovery([models]).scan().models) == [NAME]


def test_a_server_that_is_started_again_goes_on(hub, tmp_path, models):
    middle = stalls_in_the_middle(hub)

    async def run():
        async with service(hub, tmp_path) as downloads:
            task = await downloads.add("hf", WISH)
            await when(downloads, reached(middle))
        assert Discovery([models]).scan().models == {}
        hub.may_go_on.set()
        async with service(hub, tmp_path) as downloads:
            assert downloads.pid is not None  # before anybody asks
            return await ended(downloads, task)

    assert asyncio.run(run())["state"] == "done"
    assert hub.asked(WEIGHTS)[-1].headers["Range"] == f"bytes={SIZE // 2}-"


def test_whoever_waits_while_it_dies_is_told(hub, tmp_path):
    hub.everything = Stall(0)

    async def run():
        async with service(hub, tmp_path) as downloads:
            asking = asyncio.create_task(downloads.search("hf", "x", sort="downloads", limit=1, only_mlx=True))
            await downloads.tasks("hf")
            os.kill(downloads.pid, signal.SIGKILL)
            with pytest.raises(RequestError) as told:
                await asking
            return told.value

    error = asyncio.run(run())
    assert (error.status, error.code) == (503, "downloads_unavailable")


def test_it_ends_with_the_server_that_started_it(hub, tmp_path):
    stalls_in_the_middle(hub)

    async def run():
        downloads = DownloadService(settings(hub, tmp_path), lambda: False)
        await downloads.add("hf", WISH)
        await asyncio.to_thread(hub.stalled.wait, 10)
        process = downloads._process
        process._transport.get_pipe_transport(0).abort()  # as when the server is killed
        async with asyncio.timeout(10):
            await process.wait()
        await downloads.stop()
        with suppress(asyncio.CancelledError):
            if downloads._again is not None:
                await downloads._again
        return process.returncode

    assert asyncio.run(run()) == 0


def test_a_setting_that_is_changed_is_felt_by_the_next(hub, tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"max_download_speed": 1000}))

    async def run():
        async with service(hub, tmp_path) as downloads:
            task = await downloads.add("hf", WISH)
            await when(downloads, lambda tasks: tasks and tasks[0]["state"] == "downloading")
            await downloads.change(task["id"], "pause")
            (tmp_path / "settings.json").write_text(json.dumps({"max_download_speed": None}))
            await downloads.change(task["id"], "retry")
            return await ended(downloads, task)

    assert asyncio.run(run())["state"] == "done"


def test_it_gives_way_while_a_model_answers(hub, tmp_path):
    answering = True

    async def run():
        nonlocal answering
        async with service(hub, tmp_path, lambda: answering, max_download_speed_while_answering=100_000) as downloads:
            task = await downloads.add("hf", WISH)
            tasks = await when(
                downloads, lambda tasks: tasks and (at := tasks[0]["progress"]) and 0 < at["bytes_per_second"] < 200_000
            )
            assert tasks[0]["state"] == "downloading"
            answering = False
            return await ended(downloads, task)

    assert asyncio.run(run())["state"] == "done"
