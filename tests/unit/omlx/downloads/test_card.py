"""A card says which files come and what the model would take here, by what the catalog knows of memory."""

import json

import pytest

from actors.catalog.memory import need_of
from actors.contracts import EngineOptions
from actors.models import ModelInfo, ModelType
from omlx.downloads.card import make_card
from omlx.downloads.checksum import Checksum
from omlx.downloads.repository import RemoteFile
from omlx.downloads.source import Found

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 16,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
SIZE = 2_000_000_000


@pytest.fixture(params=["cpu", "metal"])
def device(request, monkeypatch):
    monkeypatch.setattr("omlx.downloads.card._device", lambda: request.param)
    return request.param


def card(config=LLAMA, *, name="org/model", files=None, parameters=None, readme=None):
    sizes = files or {"model.safetensors": SIZE, "config.json": 500, "original/consolidated.safetensors": SIZE}
    return make_card(
        Found(name),
        "commit",
        [RemoteFile(path, size, Checksum("0" * 40)) for path, size in sizes.items()],
        license_name="mit",
        readme=readme,
        config=config if config is None or isinstance(config, bytes) else json.dumps(config).encode(),
        parameters=parameters,
    )


def need(device, **more):
    return need_of(ModelInfo("model", None, size_bytes=SIZE, **more), EngineOptions(), device).least


def test_memory_is_the_catalog_s_for_the_weights_that_come(device):
    told = {"parameters": 900_000_000, "context_length": 8192, "kv_bytes_per_token": 32768}
    assert card(parameters=900_000_000).memory_bytes == need(device, **told)
    assert card().memory_bytes == need(device, **told | {"parameters": SIZE // 2})


def test_a_model_that_sees_takes_more_for_pictures(device):
    config = {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"], "vision_config": {"depth": 2}}
    assert card(config, parameters=10**9).memory_bytes == need(device, parameters=10**9, type=ModelType.VLM)


def test_a_model_that_embeds_keeps_no_kv(device):
    config = {"model_type": "bert", "architectures": ["BertModel"]}
    assert card(config, parameters=10**8).memory_bytes == need(device, parameters=10**8, type=ModelType.EMBEDDING)


def test_without_a_configuration_it_is_by_sizes(device):
    assert card(None, parameters=10**9).memory_bytes == need(device, parameters=10**9)


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"[" * 100_000, {}, {"model_type": 7}, {"model_type": "unheard-of"}])
def test_where_it_can_not_be_said_it_is_not(device, config):
    found = card(config)
    assert found.memory_bytes is None
    assert found.fetched == ("model.safetensors", "config.json")


def test_a_repository_without_weights_has_a_problem_and_no_files_to_fetch(device):
    found = card(files={"model.gguf": 5, "config.json": 5}, readme=b"# Hello")
    assert (found.fetched, found.memory_bytes, found.text, found.license) == ((), None, "# Hello", "mit")
    assert "Its weights are GGUF files" in found.problem
    assert len(found.files) == 2


def test_a_repository_whose_names_can_not_be_trusted_has_a_problem(device):
    found = card(files={"model.safetensors": 5, "../x.json": 5})
    assert (found.fetched, found.memory_bytes) == ((), None)
    assert "it leads elsewhere" in found.problem


def test_the_device_is_this_machine_s():
    assert card(parameters=10**9).memory_bytes >= 10**9
