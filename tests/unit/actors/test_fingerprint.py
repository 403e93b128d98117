"""A fingerprint is current as long as nothing changed, and never where a change could go unseen."""

import os

import pytest

from actors.catalog import fingerprint
from actors.catalog.fingerprint import UNKNOWN, Fingerprint

WRITTEN = 1_700_000_000_000_000_000


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file that was written a second ago."""
    file = tmp_path / "file"
    file.write_text("llama")
    os.utime(file, ns=(WRITTEN, WRITTEN))
    monkeypatch.setattr(fingerprint.time, "time_ns", lambda: WRITTEN + 10**9)
    return file


def test_it_is_current_until_the_file_changes_is_replaced_or_goes(file, tmp_path):
    taken = Fingerprint.take([str(file)])
    assert taken.is_current()
    os.utime(file, ns=(WRITTEN, WRITTEN + 1))
    assert not taken.is_current()
    os.utime(file, ns=(WRITTEN, WRITTEN))
    assert taken.is_current()
    (tmp_path / "other").write_text("qwen2")
    os.utime(tmp_path / "other", ns=(WRITTEN, WRITTEN))
    (tmp_path / "other").replace(file)
    assert not taken.is_current()
    file.unlink()
    assert not taken.is_current()


def test_what_is_not_there_is_a_state_too(file, tmp_path):
    taken = Fingerprint.take([str(file), str(tmp_path / "missing")])
    assert taken.is_current()
    (tmp_path / "missing").touch()
    assert not taken.is_current()


def test_a_file_written_within_the_clocks_tick_may_be_written_again_unseen(file, monkeypatch):
    monkeypatch.setattr(fingerprint.time, "time_ns", lambda: WRITTEN + 10**6)
    assert not Fingerprint.take([str(file)]).is_current()
    assert not Fingerprint.of({str(file): file.stat()}, WRITTEN + 10**6).is_current()


def test_two_are_current_together(file, tmp_path):
    (tmp_path / "other").touch()
    os.utime(tmp_path / "other", ns=(WRITTEN, WRITTEN))
    both = Fingerprint.take([str(file)]) + Fingerprint.of({str(tmp_path / "other"): (tmp_path / "other").stat()}, WRITTEN + 10**9)
    assert both.is_current()
    (tmp_path / "other").write_text("x")
    assert not both.is_current()
    assert not UNKNOWN.is_current()
