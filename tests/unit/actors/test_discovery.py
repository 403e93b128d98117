"""Folders that are models are found, and nothing else is."""

import json

import pytest

from actors.catalog.discovery import discover
from actors.catalog.model_config import context_length
from tests.fakes.model import write_model


def test_models_are_found_by_their_folders_names(tmp_path):
    write_model(tmp_path / "one", "b")
    write_model(tmp_path / "two", "a")
    write_model(tmp_path / "two", "b")  # the first folder's counts
    found = discover([tmp_path / "one", tmp_path / "two", tmp_path / "missing"])
    assert {name: model.path.parent.name for name, model in found.items()} == {"a": "two", "b": "one"}
    assert list(found) == ["a", "b"]


def test_what_is_no_model_is_skipped(tmp_path):
    write_model(tmp_path, ".pull-unfinished")
    write_model(tmp_path, "no-weights")
    (tmp_path / "no-weights/model.safetensors").unlink()
    write_model(tmp_path, "no-config")
    (tmp_path / "no-config/config.json").unlink()
    write_model(tmp_path, "no-type")
    (tmp_path / "no-type/config.json").write_text("{}")
    write_model(tmp_path, "broken")
    (tmp_path / "broken/config.json").write_text("{")
    (tmp_path / "file").write_text("")
    assert discover([tmp_path]) == {}


def test_a_model_says_its_size_and_context(tmp_path):
    write_model(tmp_path, "m")
    (tmp_path / "m/model-2.safetensors").write_bytes(b"12345")
    model = discover([tmp_path])["m"]
    assert (model.size_bytes, model.context_length, model.model_type) == (5, 4096, "echo")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 32768}}, 32768),
        ({"max_position_embeddings": None, "seq_length": 2048}, 2048),
        ({"hidden_size": 64}, None),
        ({"text_config": None}, None),
    ],
)
def test_the_context_length_is_found_wherever_it_stands(config, expected):
    assert context_length(json.loads(json.dumps(config))) == expected
