"""A folder that is in use is seen to be, by anybody, for as long as whoever uses it lives."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from actors.folder_lock import FolderLock, alone

ROOT = Path(__file__).parents[3]
HOLD = "import sys; from pathlib import Path; from actors.folder_lock import FolderLock; lock = FolderLock(Path(sys.argv[1]));"


def is_free(folder):
    with alone(folder) as free:
        return free


def test_a_folder_is_in_use_until_every_share_is_let_go(tmp_path):
    assert is_free(tmp_path)
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert first.is_held
    assert second.is_held
    assert not is_free(tmp_path)
    first.release()
    first.release()
    assert not first.is_held
    assert not is_free(tmp_path)
    second.release()
    assert is_free(tmp_path)


def test_a_process_that_is_killed_leaves_no_share(tmp_path):
    code = f"{HOLD} print('held' if lock.is_held else 'not', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    ) as other:
        assert other.stdout.readline() == "held\n"
        assert not is_free(tmp_path)
        other.kill()
        other.wait()
        assert is_free(tmp_path)


def test_while_somebody_is_alone_there_is_no_share(tmp_path):
    with alone(tmp_path) as free:
        assert free
        assert not FolderLock(tmp_path).is_held
        with alone(tmp_path) as another:
            assert not another
    lock = FolderLock(tmp_path)
    assert lock.is_held
    lock.release()


def test_a_link_s_lock_is_that_of_its_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model")
    lock = FolderLock(tmp_path / "link")
    assert not is_free(tmp_path / "model")
    lock.release()


def test_where_there_are_no_locks_nothing_fails_and_nobody_uses_anything(tmp_path, monkeypatch):
    def flock(_descriptor, _operation):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert not FolderLock(tmp_path).is_held
    assert is_free(tmp_path)


def test_what_is_not_there_can_be_in_nobody_s_use(tmp_path):
    assert not FolderLock(tmp_path / "none").is_held
    with pytest.raises(FileNotFoundError), alone(tmp_path / "none"):
        pass
