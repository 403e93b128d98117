"""A folder's revision changes with any file of the model, and with nothing else."""

import os

import pytest

from actors.folder_revision import folder_revision, is_current
from tests.fakes.model import model_info, write_model


@pytest.mark.parametrize(
    "name", ["model-2.safetensors", "tokenizer.json", "chat_template.jinja", "modeling.py", "merges.txt", "spm.model"]
)
def test_a_file_of_the_model_changes_it(tmp_path, name):
    before = folder_revision(tmp_path)
    (tmp_path / name).write_text("{}")
    present = folder_revision(tmp_path)
    (tmp_path / name).write_text("{ }")
    assert len({before, present, folder_revision(tmp_path)}) == 3


def test_a_time_of_change_alone_changes_it(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = folder_revision(tmp_path)
    os.utime(tmp_path / "config.json", ns=(1, 1))
    assert folder_revision(tmp_path) != before


def test_other_files_do_not(tmp_path):
    before = folder_revision(tmp_path)
    for name in ("README.md", ".hidden.json", "picture.png"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert folder_revision(tmp_path) == before


def test_what_a_link_leads_to_counts(tmp_path):
    (tmp_path / "blob").write_text("{}")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").symlink_to(tmp_path / "blob")
    before = folder_revision(tmp_path / "model")
    (tmp_path / "blob").write_text("{ }")
    assert folder_revision(tmp_path / "model") != before


def test_a_model_is_current_until_its_folder_changes_or_goes(tmp_path):
    write_model(tmp_path, "m")
    model = model_info("m", tmp_path / "m", revision=folder_revision(tmp_path / "m"))
    assert is_current(model)
    (tmp_path / "m/config.json").write_text("{}")
    assert not is_current(model)
    assert not is_current(model_info("gone", tmp_path / "gone"))
