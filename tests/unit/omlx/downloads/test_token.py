"""The token is the nearest one there is, and a file of it is its owner's alone, from the first byte to the last."""

import os
import stat
import threading

import pytest

from omlx.downloads.errors import AccessError, InvalidTokenError, StorageError
from omlx.downloads.hub import Hub
from omlx.downloads.modelscope_client import ModelScope
from omlx.downloads.token import (
    forget_token,
    hub_token,
    kept_token,
    modelscope_token,
    store_token,
    token_file,
    variable_with_token,
)

pytestmark = pytest.mark.usefixtures("hub_environment")


def write(folder, token, mode=0o600):
    file = folder / "hf_token"
    file.write_text(token)
    file.chmod(mode)
    return file


def mode(file):
    return stat.S_IMODE(file.stat().st_mode)


def test_there_may_be_none(tmp_path):
    assert hub_token(tmp_path) is None
    assert kept_token(tmp_path / "nowhere", "hf") is None


def test_the_variable_comes_before_the_file_and_the_file_before_the_login(tmp_path, monkeypatch):
    (tmp_path / "no-token").write_text("hf_login\n")
    assert hub_token(tmp_path) == "hf_login"
    write(tmp_path, " hf_file\n")
    assert hub_token(tmp_path) == "hf_file"
    assert variable_with_token("hf") is None
    monkeypatch.setenv("HF_TOKEN", "hf_variable")
    assert hub_token(tmp_path) == "hf_variable"
    assert variable_with_token("hf") == "HF_TOKEN"


def test_a_file_that_others_may_read_is_refused_without_showing_it(tmp_path):
    file = write(tmp_path, "hf_secret", 0o640)
    with pytest.raises(AccessError, match=f"chmod 600 {file}") as caught:
        hub_token(tmp_path)
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["hf_secret\nhf_secret", "hf_secret x", "hf_secret\x01", "hf_secré", "hf_secret" * 1000])
def test_what_can_not_be_sent_as_a_token_is_refused_without_showing_it(tmp_path, monkeypatch, text):
    write(tmp_path, text)
    with pytest.raises(AccessError, match="omlx token set hf") as caught:
        hub_token(tmp_path)
    assert "hf_secr" not in str(caught.value)
    with pytest.raises(InvalidTokenError) as refused:
        store_token(tmp_path, "hf", text)
    assert "hf_secr" not in repr(refused.value) + str(refused.value)
    assert (tmp_path / "hf_token").read_text() == text


def test_a_variable_that_is_no_token_is_refused_without_showing_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret x")
    with pytest.raises(AccessError, match="HF_TOKEN") as caught:
        hub_token(tmp_path)
    assert "hf_secret" not in str(caught.value)


def test_an_empty_token_is_none(tmp_path):
    write(tmp_path, "\n")
    assert hub_token(tmp_path) is None
    with pytest.raises(InvalidTokenError, match="empty"):
        store_token(tmp_path, "hf", "")


def test_a_hub_does_not_show_its_token():
    assert "hf_secret" not in repr(Hub(token="hf_secret"))
    assert "ms-secret" not in repr(ModelScope(token="ms-secret"))


def test_modelscope_s_is_its_variable_s_before_its_file_s(tmp_path, monkeypatch):
    assert modelscope_token(tmp_path) is None
    write(tmp_path, "hf_file")
    assert modelscope_token(tmp_path) is None
    store_token(tmp_path, "modelscope", "ms-file")
    assert modelscope_token(tmp_path) == "ms-file"
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", " ms-variable ")
    assert modelscope_token(tmp_path) == "ms-variable"
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret x")
    with pytest.raises(AccessError, match="The token in MODELSCOPE_API_TOKEN can't be one") as caught:
        modelscope_token(tmp_path)
    assert "ms-secret" not in str(caught.value)


def test_a_token_is_kept_for_its_owner_alone_and_found(tmp_path):
    base = tmp_path / "not" / "there yet"
    file = store_token(base, "hf", "hf_new")
    assert file == token_file(base, "hf") == base / "hf_token"
    assert (hub_token(base), mode(file)) == ("hf_new", 0o600)
    assert [each.name for each in base.iterdir()] == ["hf_token"]


def test_whatever_the_umask_nobody_else_could_read_it_at_any_time(tmp_path, monkeypatch):
    modes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode)))
    before = os.umask(0)
    try:
        store_token(tmp_path, "hf", "hf_new")
    finally:
        os.umask(before)
    assert modes[0] == 0o600


def test_a_file_that_others_could_read_is_replaced_and_what_it_links_to_is_left(tmp_path):
    other = tmp_path / "elsewhere"
    other.write_text("hf_other")
    other.chmod(0o644)
    (tmp_path / "hf_token").symlink_to(other)
    file = store_token(tmp_path, "hf", "hf_new")
    assert (file.read_text(), mode(file), file.is_symlink()) == ("hf_new\n", 0o600, False)
    assert other.read_text() == "hf_other"


def test_a_write_that_fails_leaves_the_old_token_and_nothing_of_the_new_one(tmp_path, monkeypatch):
    store_token(tmp_path, "hf", "hf_old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        store_token(tmp_path, "hf", "hf_new")
    assert "hf_new" not in str(caught.value)
    assert hub_token(tmp_path) == "hf_old"
    assert [each.name for each in tmp_path.iterdir()] == ["hf_token"]


def test_what_a_process_left_that_died_writing_is_in_nobody_s_way(tmp_path):
    (tmp_path / "hf_token.new").write_text("hf_ha")
    store_token(tmp_path, "hf", "hf_new")
    assert [each.name for each in tmp_path.iterdir()] == ["hf_token"]


def test_many_who_store_at_once_leave_one_whole_token(tmp_path):
    tokens = [letter * 2000 for letter in "abcdefgh"]
    threads = [threading.Thread(target=store_token, args=(tmp_path, "hf", token)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hub_token(tmp_path) in tokens


def test_forgetting_deletes_it_and_says_whether_there_was_one(tmp_path):
    store_token(tmp_path, "hf", "hf_new")
    (tmp_path / "hf_token.new").write_text("hf_ha")
    assert forget_token(tmp_path, "hf") is True
    assert list(tmp_path.iterdir()) == []
    assert forget_token(tmp_path, "hf") is False
    assert forget_token(tmp_path / "nowhere", "hf") is False


def test_a_place_that_can_not_hold_files_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't be written"):
        store_token(tmp_path / "file", "hf", "hf_new")
    with pytest.raises(StorageError, match="can't be deleted"):
        forget_token(tmp_path / "file", "hf")


@pytest.mark.parametrize("kind", ["demo", "../hf", ""])
def test_a_kind_that_takes_no_token_is_a_mistake(tmp_path, kind):
    with pytest.raises(ValueError, match="no token for"):
        store_token(tmp_path, kind, "hf_new")
    with pytest.raises(ValueError, match="no token for"):
        forget_token(tmp_path, kind)
    assert list(tmp_path.iterdir()) == []
