"""The token is the nearest one there is, and a file of it is its owner's alone."""

import pytest

from omlx.downloads.errors import AccessError
from omlx.downloads.hub import Hub
from omlx.downloads.token import FILE, hub_token

pytestmark = pytest.mark.usefixtures("hub_environment")


def write(folder, token, mode=0o600):
    file = folder / FILE
    file.write_text(token)
    file.chmod(mode)
    return file


def test_there_may_be_none(tmp_path):
    assert hub_token(tmp_path) is None


def test_the_variable_comes_before_the_file_and_the_file_before_the_login(tmp_path, monkeypatch):
    (tmp_path / "no-token").write_text("hf_login\n")
    assert hub_token(tmp_path) == "hf_login"
    write(tmp_path, " hf_file\n")
    assert hub_token(tmp_path) == "hf_file"
    monkeypatch.setenv("HF_TOKEN", "hf_variable")
    assert hub_token(tmp_path) == "hf_variable"


def test_a_file_that_others_may_read_is_refused_without_showing_it(tmp_path):
    file = write(tmp_path, "hf_secret", 0o640)
    with pytest.raises(AccessError, match=f"chmod 600 {file}") as caught:
        hub_token(tmp_path)
    assert "hf_secret" not in str(caught.value)


def test_a_hub_does_not_show_its_token():
    assert "hf_secret" not in repr(Hub(token="hf_secret"))
