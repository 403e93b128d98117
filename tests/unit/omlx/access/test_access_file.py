"""What is kept of keys: never a key, whole or not at all, seen by everybody at once."""

import json
import stat
import threading

import pytest

from omlx.access.access_file import AccessFile, find_key
from omlx.access.errors import AccessFileError, InvalidKeyError, InvalidPasswordError, UnknownKeyError
from omlx.access.keys import Limits, digest_of
from omlx.access.password import hashed, is_password
from tests.fakes.access import quick_hash


def test_a_key_is_shown_once_and_only_its_hash_is_kept(tmp_path):
    file = AccessFile(tmp_path)
    key, secret = file.add_key(" laptop ", is_admin=True, limits=Limits(requests_per_minute=5))
    assert (key.name, key.is_admin, key.limits.requests_per_minute, key.revoked) == ("laptop", True, 5, None)
    assert secret.startswith("omlx-")
    assert len(secret) > 40
    assert secret.endswith(key.hint.removeprefix("…"))
    assert secret not in file.path.read_text()
    assert digest_of(secret) in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert AccessFile(tmp_path).kept() == file.kept()


def test_two_files_of_one_folder_see_each_other_s_changes(tmp_path):
    server, command = AccessFile(tmp_path), AccessFile(tmp_path)
    assert server.kept().keys == {}
    key, _ = command.add_key("a")
    assert server.kept().keys == {key.key_id: key}
    revoked = server.revoke_key(key.key_id)
    assert revoked.revoked
    assert command.kept().keys == {key.key_id: revoked}
    assert server.revoke_key(key.key_id) == revoked  # and not later
    assert command.set_limits(key.key_id, Limits(tokens_per_day=7)).limits == Limits(tokens_per_day=7)
    command.forget_key(key.key_id)
    assert server.kept().keys == {}


def test_keys_made_at_the_same_time_are_all_kept(tmp_path):
    def make(name):
        AccessFile(tmp_path).add_key(name)

    threads = [threading.Thread(target=make, args=(f"key {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in AccessFile(tmp_path).kept().keys.values()} == {f"key {number}" for number in range(8)}


def test_a_name_is_unique_among_those_that_count(tmp_path):
    file = AccessFile(tmp_path)
    first, _ = file.add_key("Laptop")
    with pytest.raises(InvalidKeyError, match="already"):
        file.add_key("laptop")
    file.revoke_key(first.key_id)
    second, _ = file.add_key("laptop")
    assert find_key(file.kept(), "LAPTOP") == second
    file.revoke_key(second.key_id)
    assert find_key(file.kept(), "laptop").key_id == second.key_id
    assert find_key(file.kept(), first.key_id).key_id == first.key_id
    with pytest.raises(UnknownKeyError, match="desktop"):
        find_key(file.kept(), "desktop")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 65, "\x1b[31m"])
def test_a_name_is_something_to_read(tmp_path, name):
    with pytest.raises(InvalidKeyError):
        AccessFile(tmp_path).add_key(name)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", 1 << 53])
def test_a_limit_is_a_whole_number_of_something(value):
    with pytest.raises(InvalidKeyError, match="requests_per_minute"):
        Limits(requests_per_minute=value)


def test_a_key_that_counts_is_not_forgotten_nor_one_that_there_isn_t(tmp_path):
    file = AccessFile(tmp_path)
    key, _ = file.add_key("a")
    with pytest.raises(InvalidKeyError, match="revoked first"):
        file.forget_key(key.key_id)
    for change in (file.revoke_key, file.forget_key, lambda key_id: file.set_limits(key_id, Limits())):
        with pytest.raises(UnknownKeyError, match="key_0"):
            change("key_0")
    assert file.kept().keys == {key.key_id: key}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"keys": []}',
        '{"keys": {"a": 1}}',
        '{"keys": {"a": {"name": "a"}}}',
        '{"password": 5}',
        '{"keys": {"a": {"name": "a", "digest": 1, "hint": "", "created": ""}}}',
        '{"keys": {"a": {"name": "a", "digest": "", "hint": "", "created": "", "is_admin": "no"}}}',
        '{"keys": {"a": {"name": "a", "digest": "", "hint": "", "created": "", "limits": {"tokens_per_day": 0}}}}',
    ],
)
def test_a_broken_file_is_never_taken_for_no_rules(tmp_path, content, caplog):
    path = tmp_path / "access.json"
    path.write_text(content)
    with pytest.raises(AccessFileError, match="is broken"):
        AccessFile(tmp_path)
    assert path.read_text() == content  # it stays for whoever repairs it
    path.unlink()
    file = AccessFile(tmp_path)
    key, _ = file.add_key("a")
    path.write_text(content)
    assert file.kept().keys == {key.key_id: key}  # what was known still counts
    assert "still counts" in caplog.text
    with pytest.raises(AccessFileError):
        file.add_key("b")


def test_a_disk_that_is_against_it_is_said_and_changes_nothing(tmp_path, monkeypatch):
    file = AccessFile(tmp_path)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("actors.catalog.json_file.os.fsync", full)
    with pytest.raises(AccessFileError, match="No space left"):
        file.add_key("a")
    assert file.kept().keys == AccessFile(tmp_path).kept().keys == {}


def test_a_password_is_kept_as_a_slow_hash_of_its_own_salt():
    first, second = hashed("correct horse"), hashed("correct horse")
    assert first != second
    assert "correct" not in first
    assert is_password(first, "correct horse")
    assert is_password(second, "correct horse")
    assert not is_password(first, "correct horsf")
    assert not is_password(first, "")
    assert not is_password(first, "x" * 5000)


@pytest.mark.parametrize(
    "kept", ["", "secret", "scrypt$1$2$3", "scrypt$x$8$1$00$00", "plain$32768$8$1$00$00", "scrypt$32768$8$1$zz$00"]
)
def test_what_is_no_hash_is_nobody_s_password(kept):
    assert not is_password(kept, "secret")


@pytest.mark.parametrize("password", ["", "short", "1234567", "x" * 1025])
def test_a_password_has_a_length(password):
    with pytest.raises(InvalidPasswordError):
        hashed(password)


def test_the_password_is_kept_beside_the_keys(tmp_path):
    file = AccessFile(tmp_path)
    key, _ = file.add_key("a")
    kept = quick_hash("correct horse")
    file.set_password(kept)
    assert json.loads(file.path.read_text())["password"] == kept
    assert file.kept().keys == {key.key_id: key}
    file.set_password(None)
    assert AccessFile(tmp_path).kept().password is None
