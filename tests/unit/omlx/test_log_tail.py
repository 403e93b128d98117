"""Log files are followed through all that becomes of them."""

import pytest

from omlx import log_tail
from omlx.log_tail import LogTail


def row(message, second=0, level="INFO"):
    return f"2026-11-23 14:03:{second:02},000 {level:<7} {message}\n"


def add(file, *rows):
    with file.open("a") as opened:
        opened.write("".join(rows))


def said(lines):
    return [line.message for line in lines]


@pytest.fixture
def server(tmp_path):
    return tmp_path / "server.log"


def test_the_lines_of_all_files_come_by_time(tmp_path, server):
    add(server, row("one", 1), row("three", 3))
    add(tmp_path / "catalog.log", row("two", 2), row("four", 4))
    add(tmp_path / "notes.txt", row("no log"))
    (tmp_path / "folder.log").mkdir()
    tail = LogTail(tmp_path)
    assert [(line.source, line.message) for line in tail.look()] == [
        ("server", "one"),
        ("catalog", "two"),
        ("server", "three"),
        ("catalog", "four"),
    ]
    assert tail.sources == ("catalog", "server")
    assert tail.look() == []


def test_one_source_and_one_level(tmp_path, server):
    add(server, row("fine"), row("bad", level="ERROR"))
    add(tmp_path / "catalog.log", row("bad too", level="ERROR"))
    assert said(LogTail(tmp_path, "server", "warning").look()) == ["bad"]
    assert LogTail(tmp_path, "../server").look() == []


def test_no_folder_has_no_lines_and_files_may_come_later(tmp_path):
    tail = LogTail(tmp_path / "logs")
    assert (tail.look(), tail.sources) == ([], ())
    (tmp_path / "logs").mkdir()
    add(tmp_path / "logs/engine-tiny.log", row("loading"), row("loaded"))
    assert said(tail.look()) == ["loading"]
    assert tail.sources == ("engine-tiny",)
    assert said(tail.look()) == ["loaded"]


def test_a_last_line_waits_for_what_may_stand_below_it(tmp_path, server):
    add(server, row("before"))
    tail = LogTail(tmp_path)
    assert said(tail.look()) == ["before"]
    add(server, row("one"), row("failed"))
    assert said(tail.look()) == ["one"]
    add(server, "    Traceback\n", "    KeyError\n")
    assert tail.look() == []
    (failed,) = tail.look()
    assert (failed.message, failed.exception) == ("failed", "Traceback\nKeyError")
    assert tail.look() == []


def test_a_line_in_json_is_complete(tmp_path, server):
    add(server, row("text"))
    tail = LogTail(tmp_path)
    tail.look()
    add(server, '{"time": "2026-11-23T14:03:11.482Z", "level": "info", "message": "json", "request_id": "r1"}\n')
    (line,) = tail.look()
    assert (line.message, line.request_id) == ("json", "r1")


def test_half_a_line_is_none_yet(tmp_path, server):
    whole = '{"time": "2026-11-23T14:03:11.482Z", "level": "info", "message": "whole"}\n'
    add(server, row("one"), whole[:30])
    tail = LogTail(tmp_path)
    assert said(tail.look()) == ["one"]
    add(server, whole[30:])
    assert said(tail.look()) == ["whole"]


def test_bytes_that_are_no_text_hurt_only_themselves(tmp_path, server):
    server.write_bytes(row("a\udcffb").encode(errors="surrogateescape") + b"\xff\xfe\n" + row("c").encode())
    first, second = LogTail(tmp_path).look()
    assert (first.message, first.exception, second.message) == ("a\ufffdb", "\ufffd\ufffd", "c")


def test_nothing_is_lost_when_a_file_is_full_and_another_is_begun(tmp_path, server):
    add(server, row("one"))
    tail = LogTail(tmp_path)
    tail.look()
    add(server, row("two"))
    server.replace(tmp_path / "server.log.1")
    assert tail.look() == []  # there is none at the moment
    add(server, row("three", 1), row("four", 2))
    assert said(tail.look()) == ["two", "three"]
    assert said(tail.look()) == ["four"]


def test_a_file_that_was_just_begun_has_the_latest_lines_of_the_one_before(tmp_path, server):
    add(tmp_path / "server.log.1", row("old"))
    add(server, row("new", 1))
    assert said(LogTail(tmp_path).look()) == ["old", "new"]


def test_a_stranger_in_the_earlier_one_s_place_is_not_read(tmp_path, server):
    add(server, row("one"))
    tail = LogTail(tmp_path)
    tail.look()
    add(tmp_path / "server.log.1", row("of"), row("long"), row("ago"))
    add(tmp_path / "new", row("two"), row("three"))
    (tmp_path / "new").replace(server)
    assert said(tail.look()) == ["two"]


def test_an_emptied_file_begins_anew(tmp_path, server):
    add(server, row("one"), row("two"))
    tail = LogTail(tmp_path)
    tail.look()
    server.write_text("")
    assert tail.look() == []
    add(server, row("three"), row("four"))
    assert said(tail.look()) == ["three"]


def test_only_the_end_of_a_file_is_read(tmp_path, server, monkeypatch):
    monkeypatch.setattr(log_tail, "_MOST_BYTES", 3 * len(row("00")) + 5)
    add(tmp_path / "server.log.1", row("no room"))
    add(server, *(row(f"{number:02}") for number in range(10)))
    tail = LogTail(tmp_path)
    assert said(tail.look()) == ["07", "08", "09"]
    add(server, *(row(f"{number:02}") for number in range(10, 20)))
    assert said(tail.look()) == ["17", "18"]
    assert said(tail.look()) == ["19"]


def test_a_line_without_end_is_never_held_whole(tmp_path, server, monkeypatch):
    monkeypatch.setattr(log_tail, "_MOST_BYTES", 100)
    tail = LogTail(tmp_path)
    tail.look()
    add(server, row("x" * 1000).rstrip())
    assert tail.look() == []
    add(server, "x\n", row("next"), row("last"))
    assert said(tail.look()) == ["next"]
    assert said(tail.look()) == ["last"]
