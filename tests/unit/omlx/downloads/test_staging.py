"""The hidden folder holds what has come, whenever its process dies, and for one process at a time."""

import os

import pytest

from omlx.downloads.checksum import Checksum
from omlx.downloads.errors import OccupiedError
from omlx.downloads.repository import Origin, RemoteFile
from omlx.downloads.staging import held, origin_of

ORIGIN = Origin("hf", "org/m")
FILE = RemoteFile("sub/a.json", 4, Checksum("a" * 40))
OTHER = RemoteFile("b.json", 4, Checksum("b" * 40))


def staged(tmp_path, *files, origin=ORIGIN):
    with held(tmp_path, "m", origin) as staging:
        staging.begin(files)
        return {file.path: (staging.present(file), staging.is_whole(file)) for file in files}


def bring(staging, file, content=b"1234"):
    staging.part(file).write_bytes(content)


def test_what_is_whole_and_what_is_not_is_known_the_next_time(tmp_path):
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE, OTHER])
        bring(staging, FILE)
        staging.finish(FILE)
        bring(staging, OTHER, b"12")
    assert staged(tmp_path, FILE, OTHER) == {"sub/a.json": (4, True), "b.json": (2, False)}


@pytest.mark.parametrize("ending", ["was told of it", "could not be read"])
def test_a_file_that_came_before_the_state_is_checked_again_and_not_fetched(tmp_path, ending):
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE])
        before = (staging.folder / "state.json").read_text()
        bring(staging, FILE)
        staging.finish(FILE)
        (staging.folder / "state.json").write_text(before if ending == "was told of it" else "{")
    assert staged(tmp_path, FILE) == {"sub/a.json": (4, False)}


def test_a_file_that_vanished_is_not_there(tmp_path):
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE])
        bring(staging, FILE)
        staging.finish(FILE)
        (staging.folder / "model" / "sub" / "a.json").unlink()
    assert staged(tmp_path, FILE) == {"sub/a.json": (0, False)}


def test_another_content_of_a_file_is_another_file(tmp_path):
    changed = RemoteFile(FILE.path, 4, Checksum("c" * 40))
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE, OTHER])
        bring(staging, FILE)
        staging.finish(FILE)
        bring(staging, OTHER, b"12")
    assert staged(tmp_path, changed) == {"sub/a.json": (0, False)}
    left = [each for each in (tmp_path / ".pull-m").rglob("*") if each.name not in ("state.json", "lock")]
    assert {each.name for each in left} == {"model", "parts"}


def test_a_file_may_become_a_folder(tmp_path):
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE])
        bring(staging, FILE)
        staging.finish(FILE)
    folder_now_file = RemoteFile("sub", 4, Checksum("d" * 40))
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([folder_now_file])
        bring(staging, folder_now_file)
        staging.finish(folder_now_file)
        assert (staging.folder / "model" / "sub").read_bytes() == b"1234"


def test_the_model_appears_by_one_rename_and_says_where_it_is_from(tmp_path):
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE])
        bring(staging, FILE)
        staging.finish(FILE)
        staging.publish(tmp_path / "m", "c0ffee")
    assert [each.name for each in tmp_path.iterdir()] == ["m"]
    assert origin_of(tmp_path / "m") == {"source": "hf", "repository": "org/m", "revision": None, "commit": "c0ffee"}


def test_one_holds_it_at_a_time(tmp_path):
    with held(tmp_path, "m", ORIGIN), pytest.raises(OccupiedError, match="Another process"), held(tmp_path, "m", ORIGIN):
        pass
    with held(tmp_path, "m", ORIGIN), held(tmp_path, "other", ORIGIN):
        pass


def test_a_lock_whose_folder_its_holder_took_away_is_taken_anew(tmp_path, monkeypatch):
    opened = []
    really = os.open

    def overtaken(path, *arguments):
        """Whoever had the folder finishes just after its lock was opened."""
        descriptor = really(path, *arguments)
        opened.append(path)
        if len(opened) == 1:
            (tmp_path / ".pull-m" / "lock").unlink()
            (tmp_path / ".pull-m").rmdir()
        return descriptor

    monkeypatch.setattr(os, "open", overtaken)
    with held(tmp_path, "m", ORIGIN) as staging:
        assert (staging.folder / "lock").exists()
        assert len(opened) == 2


def test_another_model_s_half_is_not_touched(tmp_path):
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE])
        bring(staging, FILE)
    with pytest.raises(OccupiedError, match="omlx pull org/m"):
        staged(tmp_path, FILE, origin=Origin("hf", "others/m"))
    assert staged(tmp_path, FILE) == {"sub/a.json": (4, False)}


def test_nothing_is_left_where_nothing_came(tmp_path):
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE])
        staging.part(FILE).touch()
        staging.drop_if_empty()
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path, "m", ORIGIN) as staging:
        staging.begin([FILE])
        bring(staging, FILE, b"1")
        staging.drop_if_empty()
        assert staging.present(FILE) == 1


def test_a_folder_without_an_origin_has_none(tmp_path):
    assert origin_of(tmp_path) is None
    (tmp_path / ".omlx-origin.json").write_text("[]")
    assert origin_of(tmp_path) is None
