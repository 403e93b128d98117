"""A model folder's own Python files run only where they are trusted, and loading says what a template may be told."""

import inspect
import json
import logging

import mlx.core as mx
import pytest
from transformers import PreTrainedTokenizerBase, dynamic_module_utils

from actors.contracts import EngineOptions
from actors.engine import text
from actors.engine.loader import load_backend
from actors.models import ModelInfo
from scheduler.request import Request, Sequence
from scheduler.step import Chunk, StepPlan
from tests.mlx.tiny_folder import write_tiny

OWN_CODE = ("modeling_x.py", "tokenization_x.py")
MODELING = "from mlx_lm.models.llama import Model, ModelArgs\n"
TOKENIZATION = """from transformers import PreTrainedTokenizerFast
class XTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def plain(tmp_path):
    """A tiny random llama."""
    return ModelInfo("random", write_tiny(tmp_path / "random"), context_length=64)


@pytest.fixture
def canary(tmp_path):
    """Where code that runs leaves its file's name."""
    return tmp_path / "canary"


@pytest.fixture
def with_code(plain, canary, tmp_path, monkeypatch):
    """The same with Python files of its own, which every library that reads the folder is told of."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    for name, body in zip(OWN_CODE, (MODELING, TOKENIZATION), strict=True):
        sing = f"with open({str(canary)!r}, 'a') as file:\n    file.write({name!r} + ' ')\n"
        (plain.path / name).write_text(sing + body)
    for name, keys in {
        "config.json": {"model_file": "modeling_x.py", "auto_map": {"AutoModel": "modeling_x.Model"}},
        "tokenizer_config.json": {
            "tokenizer_class": "XTokenizer",
            "auto_map": {"AutoTokenizer": [None, "tokenization_x.XTokenizer"]},
        },
    }.items():
        file = plain.path / name
        file.write_text(json.dumps(json.loads(file.read_text()) | keys))
    return ModelInfo("random", plain.path, context_length=64, own_code=OWN_CODE)


def first_token(backend):
    sequence = Sequence(Request("a", tuple(backend.tokenizer.encode("w5 w6 w7")), 4), arrived=0.0)
    result = backend.runner.run(StepPlan(prefill=(Chunk(sequence, 0, 3),))).wait()
    return result.tokens["a"]


def test_a_models_own_code_is_not_run_and_the_error_names_it_and_the_setting(with_code, canary):
    with pytest.raises(ValueError, match="trust_remote_code") as caught:
        load_backend(with_code)
    assert all(name in str(caught.value) for name in OWN_CODE)
    assert not canary.exists()


def test_nothing_of_a_folder_with_untrusted_code_is_read(with_code, monkeypatch):
    for name in ("load_model", "load_tokenizer"):
        monkeypatch.setattr(f"actors.engine.loader.{name}", lambda *_args, **_options: pytest.fail("it was read"))
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_backend(with_code)


def test_code_that_came_after_the_folder_was_looked_at_is_not_run_either(with_code, canary):
    with pytest.raises(ValueError, match="modeling_x"):
        load_backend(ModelInfo("random", with_code.path, context_length=64))
    assert not canary.exists()


def test_trusted_code_is_run_with_a_warning_at_each_load(with_code, canary, caplog):
    with caplog.at_level(logging.WARNING, "actors.engine.loader"):
        for _ in range(2):
            backend = load_backend(with_code, EngineOptions(trust_remote_code=True))
    assert set(canary.read_text().split()) == set(OWN_CODE)
    warnings = [record.getMessage() for record in caplog.records if record.name == "actors.engine.loader"]
    assert len(warnings) == 2
    assert all("running code of" in each and "trust_remote_code" in each for each in warnings)
    assert type(backend.tokenizer._tokenizer).__name__ == "XTokenizer"
    assert 0 <= first_token(backend) < 64


def test_trusting_a_model_without_code_of_its_own_is_no_news(plain, caplog):
    with caplog.at_level(logging.WARNING, "actors.engine.loader"):
        backend = load_backend(plain, EngineOptions(trust_remote_code=True))
    assert caplog.records == []
    assert 0 <= first_token(backend) < 64


def test_memory_beside_the_systems_is_told_where_there_is_some(plain):
    backend = load_backend(plain)
    if backend.device == "cuda":
        assert backend.device_bytes() == mx.get_active_memory() + mx.get_cache_memory()
    else:
        assert backend.device_bytes is None


def test_template_variables_can_be_told_from_what_says_how_to_render():
    rendering = set(inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters)
    assert rendering - {"tools", "documents", "kwargs"} <= text._RENDERING
