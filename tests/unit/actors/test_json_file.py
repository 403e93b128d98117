"""A file is read when it may have changed, replaced as a whole, and kept when it is broken."""

import os
import stat

import pytest

from actors.catalog.json_file import JsonFile


@pytest.fixture
def file(tmp_path):
    return JsonFile(tmp_path / "it.json", ("models",))


def age(path, seconds=60):
    """Let a file have been written a while ago, so that its time alone tells whether it changed."""
    then = path.stat().st_mtime_ns - seconds * 1_000_000_000
    os.utime(path, ns=(then, then))


def names(file):
    return [each.name for each in file.path.parent.iterdir()]


def test_what_is_written_is_read_and_for_its_owner_alone(file):
    file.write({"a": [1, {"b": "é"}]})
    assert file.read() == {"a": [1, {"b": "é"}]}
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert "é" in file.path.read_text("utf-8")
    assert names(file) == ["it.json"]


def test_where_there_is_no_file_there_is_nothing(file):
    assert file.read() == {}
    assert not file.changed()


def test_a_file_that_others_may_read_becomes_private(file):
    file.path.write_text("{}")
    file.path.chmod(0o644)
    file.write({"a": 1})
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_text_that_is_no_unicode_survives(file):
    file.path.write_text(r'{"a": "\ud800"}')
    file.write(file.read())
    assert file.read() == {"a": "\ud800"}


def test_a_change_shows_and_no_change_does_not(file):
    file.path.write_text('{"a": 1}')
    age(file.path)
    assert file.changed()
    file.read()
    assert not file.changed()
    file.path.write_text('{"a": 2}')
    assert file.changed()
    file.path.unlink()
    assert file.changed()


def test_a_second_change_within_a_tick_of_the_clock_shows(file):
    file.write({"a": 1})
    before = file.path.stat()
    with file.path.open("r+") as same:
        same.write(file.path.read_text().replace("1", "2"))
    os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.changed()
    assert file.read() == {"a": 2}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"a": NaN}', '{"a": 1e999}', '{"models": []}', '{"models": null}', "[" * 100_000, b"\xff{}"],
    ids=lambda text: repr(text[:20]),
)
def test_a_broken_file_is_told_and_can_be_set_aside(file, text):
    file.path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError):
        file.read()
    aside = file.set_aside()
    assert aside.name.startswith("it.json.corrupt-")
    assert aside.read_bytes() == (text if isinstance(text, bytes) else text.encode())
    assert file.read() == {}


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_file_whole(file, call, monkeypatch):
    file.write({"a": 1})

    def fail(*args):
        raise OSError("no more disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="no more disk"):
            file.write({"a": 2})
    assert file.read() == {"a": 1}
    assert names(file) == ["it.json"]


def test_a_death_between_writing_and_renaming_leaves_the_old_file_whole(file, monkeypatch):
    file.write({"a": 1})

    def die(*args):
        raise KeyboardInterrupt  # nothing is tidied up

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            file.write({"a": 2})
    assert len(names(file)) == 2
    assert JsonFile(file.path).read() == {"a": 1}
    file.write({"a": 3})
    assert file.read() == {"a": 3}
    assert names(file) == ["it.json"]
