"""What keys have had: counted while it happens, bounded by their limits, kept over a restart."""

import asyncio
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from omlx.access.errors import LimitError
from omlx.access.keys import Key, Limits
from omlx.access.usage import KeyUsage, Used

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def world():
    return SimpleNamespace(seconds=50.0, now=NOON)


@pytest.fixture
def usage(tmp_path, world):
    return KeyUsage(tmp_path, lambda: world.seconds, lambda: world.now)


def key(**limits):
    return Key("key_1", "laptop", "…", "…", "", limits=Limits(**limits))


def take(usage, key, prompt=3, completion=2):
    with usage.request(key) as taken:
        taken.prompt_tokens, taken.completion_tokens = prompt, completion


def test_requests_and_tokens_are_counted_and_kept(usage, tmp_path, world):
    take(usage, key())
    take(usage, key(), 10, 20)
    assert usage.of("key_1") == Used(2, 13, 22, "2026-11-27T12:00:00+00:00", "2026-11-27", 35)
    assert usage.today("key_1") == 35
    asyncio.run(usage.save())
    again = KeyUsage(tmp_path, lambda: world.seconds, lambda: world.now)
    assert again.of("key_1") == usage.of("key_1")
    assert again.of("key_2") == Used()
    again.forget("key_1")
    asyncio.run(again.save())
    assert KeyUsage(tmp_path).of("key_1") == Used()


def test_a_request_that_breaks_off_counts_what_it_had(usage):
    with suppress(RuntimeError), usage.request(key(concurrent_requests=1)) as taken:
        taken.prompt_tokens, taken.completion_tokens = 7, 1
        raise RuntimeError
    assert usage.today("key_1") == 8
    take(usage, key(concurrent_requests=1))


def test_so_many_at_once(usage):
    limited = key(concurrent_requests=2)
    with usage.request(limited), usage.request(limited):
        with pytest.raises(LimitError, match="2 requests at once") as refused:
            take(usage, limited)
        assert refused.value.retry_after == 1
        take(usage, Key("key_2", "other", "", "", "", limits=Limits(concurrent_requests=1)))
    take(usage, limited)


def test_so_many_a_minute(usage, world):
    limited = key(requests_per_minute=2)
    take(usage, limited)
    world.seconds += 30
    take(usage, limited)
    with pytest.raises(LimitError, match="2 requests a minute") as refused:
        take(usage, limited)
    assert refused.value.retry_after == 30
    assert usage.of("key_1").requests == 2  # what was refused isn't counted
    world.seconds += 30
    take(usage, limited)
    with pytest.raises(LimitError):
        take(usage, limited)


def test_so_many_tokens_a_day_over_a_restart(usage, tmp_path, world):
    limited = key(tokens_per_day=10)
    take(usage, limited, 3, 6)
    take(usage, limited, 100, 0)  # there was one left
    asyncio.run(usage.save())
    usage = KeyUsage(tmp_path, lambda: world.seconds, lambda: world.now)
    with pytest.raises(LimitError, match="10 tokens a day") as refused:
        take(usage, limited)
    assert refused.value.retry_after == 12 * 3600
    world.now += timedelta(hours=12)
    take(usage, limited, 1, 1)
    assert usage.today("key_1") == 2
    assert usage.of("key_1").prompt_tokens == 104


def test_without_a_limit_nothing_piles_up(usage):
    for _ in range(5):
        take(usage, key())
    assert dict(usage._minute) == {}


@pytest.mark.parametrize("content", ["{", '{"key_1": 5}', '{"key_1": {"requests": "2"}}', '{"key_1": {"other": 2}}'])
def test_a_broken_file_is_kept_aside(tmp_path, content, caplog):
    (tmp_path / "key-usage.json").write_text(content)
    usage = KeyUsage(tmp_path)
    assert usage.of("key_1") == Used()
    assert "begins anew" in caplog.text
    assert [file.read_text() for file in tmp_path.glob("key-usage.json.corrupt-*")] == [content]


def test_it_is_kept_at_the_end_and_a_full_disk_is_no_one_s_error(tmp_path, monkeypatch, caplog):
    async def test():
        usage = KeyUsage(tmp_path)
        await usage.start()
        take(usage, key())
        await usage.stop()
        assert KeyUsage(tmp_path).of("key_1").requests == 1
        monkeypatch.setattr("actors.catalog.json_file.os.fsync", lambda _file: (_ for _ in ()).throw(OSError(28, "full")))
        take(usage, key())
        await usage.save()
        assert "can't be kept" in caplog.text
        monkeypatch.undo()
        await usage.save()

    asyncio.run(test())
    assert KeyUsage(tmp_path).of("key_1").requests == 2


def test_it_is_kept_while_the_server_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("omlx.access.usage._SAVE_SECONDS", 0.0)
    written = asyncio.Event()

    async def test():
        usage = KeyUsage(tmp_path)
        monkeypatch.setattr(usage._file, "write", lambda _content: written.set())
        await usage.start()
        take(usage, key())
        await asyncio.wait_for(written.wait(), 10)
        await usage.stop()

    asyncio.run(test())


def test_a_slow_disk_holds_nobody_up(tmp_path, monkeypatch):
    may_go_on = threading.Event()
    went_on = []

    async def test():
        usage = KeyUsage(tmp_path)
        monkeypatch.setattr(usage._file, "write", lambda _content: went_on.append(may_go_on.wait(5)))
        take(usage, key())
        saving = asyncio.create_task(usage.save())
        await asyncio.sleep(0)
        take(usage, key())  # while it is being written
        may_go_on.set()
        await saving

    asyncio.run(test())
    assert went_on == [True]
