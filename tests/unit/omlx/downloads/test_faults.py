"""Whatever breaks: a clear message, nothing half where models are, and the next try goes on where it was."""

import errno
import io

import pytest

from actors.catalog.discovery import Discovery
from omlx.downloads import transfer
from omlx.downloads.errors import (
    CancelledError,
    ChecksumError,
    DownloadError,
    OccupiedError,
    StorageError,
    UnreachableError,
    UnsuitableError,
)
from omlx.downloads.pace import Pace
from omlx.downloads.repository import Origin
from omlx.downloads.retries import Retries
from omlx.downloads.selection import Selection
from omlx.downloads.staging import Staging
from tests.fakes.downloads import NAME, NO_RETRIES, REPO, WANTED, WEIGHTS, Watcher, download, model_files, shown
from tests.fakes.file_server import Cut, Refuse, Stall, Wrong

FILES = model_files()
SIZE = len(FILES[WEIGHTS])
TENTHS = [SIZE * tenth // 10 for tenth in range(1, 10)]


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def model(place):
    place.add(REPO, FILES)


def is_whole(folder):
    return {name: (folder / name).read_bytes() for name in WANTED} == {name: FILES[name] for name in WANTED}


def found(models):
    """What would be served."""
    return list(Discovery([models]).scan().models)


@pytest.mark.parametrize("after", [0, *TENTHS, SIZE - 1])
def test_a_cut_anywhere_is_told_and_the_next_try_fetches_the_rest_alone(place, models, after):
    place.fault(WEIGHTS, Cut(after))
    with pytest.raises(UnreachableError, match=f"Given up after 1 tries: the connection to {place.url} broke"):
        download(place, models, retries=NO_RETRIES, parallel=1).run()
    assert (shown(models), found(models)) == ([], [])
    place.sent.clear()
    assert is_whole(download(place, models).run())
    assert place.sent[WEIGHTS] == SIZE - after
    assert found(models) == [NAME]


def test_cuts_all_along_are_mended_within_one_try_and_no_byte_comes_twice(place, models):
    steps = [SIZE // 10] * 9
    place.fault(WEIGHTS, *[Cut(step) for step in steps])
    watcher = Watcher()
    assert is_whole(download(place, models, watcher).run())
    assert place.sent[WEIGHTS] == SIZE
    assert len(watcher.troubles) == 9
    assert all(each.startswith(f"{WEIGHTS}: the connection to {place.url} broke") for each in watcher.troubles)


def test_a_wrong_file_is_fetched_anew_once(place, models):
    place.fault(WEIGHTS, Wrong(bytes(SIZE)))
    watcher = Watcher()
    assert is_whole(download(place, models, watcher).run())
    assert "its checksum differs" in watcher.troubles[0]
    assert watcher.seen[-1].done == watcher.seen[-1].total


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_file_that_stays_wrong_fails_and_the_others_are_kept(place, models, name):
    wrong = bytes(len(FILES[name]))
    place.fault(name, Wrong(wrong), Wrong(wrong))
    with pytest.raises(ChecksumError, match=f"^{name} came twice and isn't what the list of files says"):
        download(place, models, selection=Selection(allow=(name, "*.safetensors")), parallel=1).run()
    assert (shown(models), found(models)) == ([], [])
    place.sent.clear()
    assert is_whole(download(place, models).run())
    assert place.sent[name] == len(FILES[name])
    if name != WEIGHTS:
        assert place.sent[WEIGHTS] == 0


def test_bytes_that_went_bad_on_the_disk_are_found_and_mended(place, models):
    place.fault(WEIGHTS, Cut(SIZE // 2))
    with pytest.raises(UnreachableError):
        download(place, models, retries=NO_RETRIES, parallel=1).run()
    (part,) = (each for each in (models / f".pull-{NAME}" / "parts").iterdir() if each.stat().st_size == SIZE // 2)
    part.write_bytes(bytes(SIZE // 2))
    assert is_whole(download(place, models).run())


def test_a_full_disk_is_told_and_the_next_try_goes_on(place, models, monkeypatch):
    class Full(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > SIZE // 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "FileIO", Full)
        with pytest.raises(StorageError, match=f"The disk of {models} is full. What has come is kept"):
            download(place, models, parallel=1).run()
    assert shown(models) == []
    (part,) = (models / f".pull-{NAME}" / "parts").iterdir()
    kept = part.stat().st_size
    assert 0 < kept <= SIZE // 2
    place.sent.clear()
    assert is_whole(download(place, models).run())
    assert place.sent[WEIGHTS] == SIZE - kept


def test_too_little_space_is_told_before_anything_is_fetched(place, models):
    with pytest.raises(StorageError, match=r"There isn't enough space in .*: 0\.00 GB are needed, and 0\.00 GB are free"):
        download(place, models, free_bytes=lambda _folder: SIZE).run()
    assert dict(place.sent) == {}
    assert list(models.iterdir()) == []


def test_what_is_here_already_needs_no_space_again(place, models):
    place.fault(WEIGHTS, Cut(SIZE // 2))
    with pytest.raises(UnreachableError):
        download(place, models, retries=NO_RETRIES, parallel=1).run()
    assert is_whole(download(place, models, free_bytes=lambda _folder: SIZE // 2 + 4000).run())


def test_a_folder_that_can_not_be_made_is_told(place, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="tiny-llama could not be stored in"):
        download(place, tmp_path / "file").run()


def test_a_cancelled_download_ends_at_the_next_chunk_and_goes_on_later(place, models):
    class Canceller(Watcher):
        def progress(self, progress):
            super().progress(progress)
            if progress.done >= 100_000:
                running.cancel()
                place.may_go_on.set()

    place.fault(WEIGHTS, Stall(after=100_000))
    running = download(place, models, Canceller(), tell_seconds=0.005, parallel=1)
    with pytest.raises(CancelledError, match="What has come is kept"):
        running.run()
    assert shown(models) == []
    sent = dict(place.sent)
    assert is_whole(download(place, models).run())
    assert place.sent[WEIGHTS] < sent[WEIGHTS] + SIZE


def test_a_download_is_cancelled_while_it_waits_for_the_hub(place, models):
    class Canceller(Watcher):
        def trouble(self, text):
            assert f"{place.url} answered 503; trying again in 3 s" in text
            running.cancel()

    place.everything = Refuse(503)
    running = download(place, models, Canceller(), retries=Retries(first_seconds=3))
    with pytest.raises(CancelledError, match="before it began"):
        running.run()
    assert len(place.requests) == 1
    assert not models.exists()


def test_an_interruption_leaves_what_has_come(place, models):
    class Interrupted(Watcher):
        def progress(self, progress):
            if progress.done >= 100_000 and place.stalled.is_set():
                place.may_go_on.set()
                raise KeyboardInterrupt

    place.fault(WEIGHTS, Stall(after=100_000))
    with pytest.raises(KeyboardInterrupt):
        download(place, models, Interrupted(), tell_seconds=0.005, parallel=1).run()
    assert shown(models) == []
    (part,) = (models / f".pull-{NAME}" / "parts").iterdir()
    assert part.stat().st_size >= 100_000
    assert is_whole(download(place, models).run())


def test_one_file_that_fails_has_the_others_end(place, models):
    place.fault("config.json", Wrong(b"not JSON"))
    place.fault(WEIGHTS, Stall(after=1000))
    with pytest.raises(DownloadError, match=r"for config\.json"):
        download(place, models, read_seconds=0.2).run()
    assert shown(models) == []
    assert len(place.asked(WEIGHTS)) <= 2  # one at the place, one where that leads to


def test_a_branch_that_moves_meanwhile_keeps_what_is_the_same(place, models):
    place.fault(WEIGHTS, Cut(SIZE // 2))
    with pytest.raises(UnreachableError):
        download(place, models, retries=NO_RETRIES, parallel=1).run()
    changed = {**FILES, "README.md": b"# Another", "added.json": b"{}"}
    del changed["tokenizer.json"]
    commit = place.add(REPO, changed)
    place.sent.clear()
    folder = download(place, models).run()
    assert place.sent[WEIGHTS] == SIZE - SIZE // 2
    assert (folder / "README.md").read_bytes() == b"# Another"
    assert sorted(each.name for each in folder.iterdir()) == sorted(
        {".omlx-origin.json", "README.md", "added.json", "config.json", WEIGHTS}
    )
    assert commit in (folder / ".omlx-origin.json").read_text()


def test_weights_that_changed_are_not_continued_with_the_new_ones(place, models):
    place.fault(WEIGHTS, Cut(SIZE // 2))
    with pytest.raises(UnreachableError):
        download(place, models, retries=NO_RETRIES, parallel=1).run()
    place.add(REPO, model_files(seed=2))
    folder = download(place, models).run()
    assert (folder / WEIGHTS).read_bytes() == model_files(seed=2)[WEIGHTS]


def test_two_at_once_do_not_write_into_each_other(place, models):
    class Second(Watcher):
        refused = None

        def progress(self, progress):
            if place.stalled.is_set() and self.refused is None:
                with pytest.raises(OccupiedError) as caught:
                    download(place, models).run()
                self.refused = str(caught.value)
                place.may_go_on.set()

    place.fault(WEIGHTS, Stall(after=100_000))
    second = Second()
    assert is_whole(download(place, models, second, tell_seconds=0.005).run())
    assert second.refused.startswith("Another process is fetching it already")
    assert place.sent[WEIGHTS] == SIZE


def test_discovery_finds_the_model_once_it_is_whole_and_not_before(place, models):
    discovery, before = Discovery([models]), []

    class Looking(Watcher):
        def progress(self, progress):
            inventory = discovery.scan()
            before.append((list(inventory.models), [each.path.name for each in inventory.skipped]))

    place.fault(WEIGHTS, Cut(SIZE // 2), Cut(SIZE // 4))
    download(place, models, Looking(), tell_seconds=0.001).run()
    assert len(before) >= 2
    assert all(each == ([], []) for each in before)
    found = discovery.scan()
    assert (list(found.models), found.skipped) == ([NAME], ())


def test_a_model_that_is_there_is_not_asked_for_again(place, models):
    download(place, models).run()
    before = len(place.requests)
    assert is_whole(download(place, models).run())
    assert len(place.requests) == before


@pytest.mark.parametrize("other", [{"repo": "others/tiny-llama"}, {"revision": "v2"}])
def test_another_model_of_the_name_is_left_alone(place, models, other):
    download(place, models).run()
    with pytest.raises(OccupiedError, match=f"There is {models / NAME} already: {REPO} at .*--name"):
        download(place, models, **other).run()


def test_a_folder_of_unknown_origin_is_left_alone(place, models):
    (models / NAME).mkdir(parents=True)
    with pytest.raises(OccupiedError, match="nothing says where it is from"):
        download(place, models).run()
    assert place.requests == []


def test_half_of_another_model_of_the_name_is_left_alone(place, models):
    place.fault(WEIGHTS, Cut(SIZE // 2))
    with pytest.raises(UnreachableError):
        download(place, models, retries=NO_RETRIES, parallel=1).run()
    place.add("others/tiny-llama", FILES)
    with pytest.raises(OccupiedError, match=f"holds a part of {REPO}.*--name"):
        download(place, models, repo="others/tiny-llama").run()
    place.sent.clear()
    assert is_whole(download(place, models).run())
    assert place.sent[WEIGHTS] == SIZE - SIZE // 2


def test_a_place_that_is_taken_at_the_last_moment_is_left_alone_and_nothing_is_lost(place, models):
    class Overtaken(Watcher):
        def progress(self, progress):
            if progress.files_done == progress.files_total:
                (models / NAME).mkdir(exist_ok=True)
                (models / NAME / "theirs").touch()

    with pytest.raises(OccupiedError, match="has come there meanwhile"):
        download(place, models, Overtaken()).run()
    assert [each.name for each in (models / NAME).iterdir()] == ["theirs"]
    (models / NAME / "theirs").unlink()
    (models / NAME).rmdir()
    place.sent.clear()
    assert is_whole(download(place, models).run())
    assert dict(place.sent) == {}


@pytest.mark.parametrize(
    "path", ["../evil.json", "/tmp/evil.json", "a/../../evil.json", "con.json", "a\\..\\evil.json", "x\u202e.json"]
)
def test_a_repository_with_a_hostile_name_is_refused_before_anything_is_fetched(place, models, path):
    place.add(REPO, {**FILES, path: b"{}"})
    with pytest.raises(UnsuitableError, match="can't be stored"):
        download(place, models).run()
    assert dict(place.sent) == {}
    assert not models.exists()


def test_a_hostile_name_that_nobody_wants_does_no_harm(place, models):
    place.add(REPO, {**FILES, "../evil.bin": b"x"})
    assert is_whole(download(place, models).run())


@pytest.mark.parametrize("kind", ["part", "whole", "folder"])
def test_links_in_the_hidden_folder_are_not_followed(place, models, tmp_path, kind):
    mine = "m" * len(FILES["config.json"])  # so that its size tells nothing
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text(mine)
    place.fault("README.md", Cut(3))  # the smallest, and so the last
    with pytest.raises(UnreachableError):
        download(place, models, retries=NO_RETRIES, parallel=1).run()
    staging = models / f".pull-{NAME}"
    (part,) = (staging / "parts").iterdir()
    link, target = {
        "part": (part, outside / "precious"),
        "whole": (staging / "model" / "config.json", outside / "precious"),
        "folder": (staging / "model" / "sub", outside),
    }[kind]
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    place.add(REPO, {**FILES, "sub/precious.json": b"{}"})
    folder = download(place, models).run()
    assert is_whole(folder)
    assert not any(each.is_symlink() for each in folder.rglob("*"))
    assert ((outside / "precious").read_text(), len(list(outside.iterdir()))) == (mine, 1)


def test_a_link_that_comes_in_the_way_meanwhile_is_not_followed(place, models, tmp_path):
    (tmp_path / "precious").write_text("mine")

    class Linking(Watcher):
        def progress(self, progress):
            for file in place.repository(REPO).listing().files:
                part = held.part(file)
                if not progress.done and not part.exists():
                    part.symlink_to(tmp_path / "precious")

    held = Staging(models / f".pull-{NAME}", Origin(place.kind, REPO))
    with pytest.raises(StorageError, match="could not be stored"):
        download(place, models, Linking()).run()
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_model_that_another_process_finishes_meanwhile_is_not_fetched_again(place, models, monkeypatch):
    kind = type(place.repository(REPO))
    listing = kind.listing

    def overtaken(self):
        found = listing(self)
        monkeypatch.setattr(kind, "listing", listing)
        download(place, models).run()
        place.sent.clear()
        return found

    monkeypatch.setattr(kind, "listing", overtaken)
    assert is_whole(download(place, models).run())
    assert dict(place.sent) == {}
    assert [each.name for each in models.iterdir()] == [NAME]


def test_a_limit_on_speed_is_kept(place, models, monkeypatch):
    waits = []
    wait = transfer.Line.wait
    monkeypatch.setattr(transfer.Line, "wait", lambda self, seconds: waits.append(seconds) or wait(self, 0))
    download(place, models, pace=Pace(100_000), parallel=1).run()
    total = sum(len(FILES[name]) for name in WANTED)
    assert max(waits) == pytest.approx(total / 100_000, rel=0.2)
