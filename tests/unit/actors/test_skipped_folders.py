"""Folders that look like models and can't be served are named with the reason and what would help."""

import json

import pytest

from actors.catalog.discovery import Discovery
from actors.catalog.reasons import Reason
from tests.fakes.model import EMPTY_WEIGHTS, safetensors, write_model

CONFIG = json.dumps({"model_type": "llama"})
SHARDS = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})
WHOLE = safetensors({"a": ("F32", (100,))})

# What stands in a folder, the reason, and a word that the sentence has to have.
FOLDERS = [
    ({"config.json": CONFIG, "pytorch_model.bin": "x"}, Reason.PYTORCH, "pytorch_model.bin"),
    ({"consolidated.00.pth": "x", "consolidated.01.pth": "x"}, Reason.PYTORCH, "and 1 more"),
    ({"config.json": CONFIG, "model.pt": "x"}, Reason.PYTORCH, "omlx convert"),
    ({"Model-Q4_K_M.gguf": "x"}, Reason.GGUF, "Model-Q4_K_M.gguf"),
    ({"config.json": CONFIG, "model.gguf": "x"}, Reason.GGUF, "omlx convert"),
    ({"adapters.safetensors": EMPTY_WEIGHTS, "adapter_config.json": "{}"}, Reason.LORA, "mlx_lm.fuse"),
    ({"adapter_model.safetensors": EMPTY_WEIGHTS, "adapter_config.json": "{}", "config.json": CONFIG}, Reason.LORA, "base"),
    ({"0000100_adapters.safetensors": EMPTY_WEIGHTS}, Reason.LORA, "adapter"),
    ({"config.json": CONFIG, "tokenizer.json": "{}"}, Reason.NO_WEIGHTS, "no .safetensors"),
    ({"model.safetensors": EMPTY_WEIGHTS}, Reason.NO_CONFIG, "config.json"),
    (
        {"config.json": CONFIG, "model.safetensors.index.json": SHARDS, "model-00001-of-00002.safetensors": EMPTY_WEIGHTS},
        Reason.MISSING_SHARDS,
        "model-00002-of-00002.safetensors",
    ),
    ({"config.json": CONFIG, "model.safetensors.index.json": SHARDS}, Reason.MISSING_SHARDS, "and 1 more"),
    # The index is copied last, and its shards say themselves how many they are.
    ({"config.json": CONFIG, "model-00001-of-00003.safetensors": EMPTY_WEIGHTS}, Reason.MISSING_SHARDS, "model-00002-of-00003"),
    ({"config.json": CONFIG, "model.safetensors": WHOLE[:-1]}, Reason.TRUNCATED, f"{len(WHOLE) - 1} of {len(WHOLE)}"),
    ({"config.json": CONFIG, "model.safetensors": b""}, Reason.TRUNCATED, "0 of"),
    ({"config.json": CONFIG, "model.safetensors": bytes(4096)}, Reason.CORRUPT, "model.safetensors"),
    ({"config.json": CONFIG, "model.safetensors": WHOLE + b"!"}, Reason.CORRUPT, "1 more"),
    ({"config.json": CONFIG, "model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}, Reason.LFS_POINTER, "git lfs pull"),
    ({"config.json": "{", "model.safetensors": EMPTY_WEIGHTS}, Reason.BAD_JSON, "config.json"),
    ({"config.json": "[]", "model.safetensors": EMPTY_WEIGHTS}, Reason.BAD_JSON, "config.json"),
    ({"config.json": b"\xff\xfe", "model.safetensors": EMPTY_WEIGHTS}, Reason.BAD_JSON, "config.json"),
    ({"config.json": CONFIG, "model.safetensors": EMPTY_WEIGHTS, "tokenizer_config.json": ""}, Reason.BAD_JSON, "tokenizer_config.json"),
    ({"config.json": CONFIG, "model.safetensors": EMPTY_WEIGHTS, "tokenizer.json": '{"model": {'}, Reason.BAD_JSON, "tokenizer.json"),
    ({"config.json": CONFIG, "model.safetensors": EMPTY_WEIGHTS, "model.safetensors.index.json": "{}"}, Reason.BAD_JSON, "weight_map"),
    ({"config.json": "{}", "model.safetensors": EMPTY_WEIGHTS}, Reason.NO_TYPE, "model_type"),
    ({"config.json": '{"model_type": 1}', "model.safetensors": EMPTY_WEIGHTS}, Reason.NO_TYPE, "model_type"),
    ({"config.json": '{"model_type": "whisper"}', "model.safetensors": EMPTY_WEIGHTS}, Reason.UNSUPPORTED, "'whisper'"),
    (
        {"config.json": '{"model_type": "bert", "architectures": ["BertForTokenClassification"]}', "model.safetensors": EMPTY_WEIGHTS},
        Reason.UNSUPPORTED_TASK,
        "BertForTokenClassification",
    ),
    (
        {"config.json": '{"model_type": "mpnet"}', "1_Pooling/config.json": "{}", "model.safetensors": EMPTY_WEIGHTS},
        Reason.UNSUPPORTED_EMBEDDING,
        "'mpnet'",
    ),
    ({"config.json": '{"model_type": "qwen3_5_mtp"}', "model.safetensors": EMPTY_WEIGHTS}, Reason.DRAFT, "qwen3_5_mtp"),
    ({"model_index.json": "{}", "text_encoder/config.json": CONFIG, "text_encoder/model.safetensors": EMPTY_WEIGHTS}, Reason.PIPELINE, ""),
    *(
        ({"config.json": CONFIG, "model.safetensors": EMPTY_WEIGHTS, name: "x"}, Reason.DOWNLOADING, name.rpartition("/")[2])
        for name in (
            "model-2.safetensors.incomplete", "tokenizer.json.part", "x.crdownload", "model.safetensors.aria2", "y.partial",
            ".cache/huggingface/download/abc.123.incomplete", "._____temp/model.safetensors",
            ".cache/huggingface/download/1_Pooling/config.incomplete",
        )
    ),
    ({"model.safetensors.download/data": "x"}, Reason.DOWNLOADING, "model.safetensors.download"),
    ({"model.gguf.part": "x"}, Reason.DOWNLOADING, "model.gguf.part"),
]  # fmt: skip


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def pattern(reason):
    """The part of a reason before what is filled in."""
    return reason.partition("{")[0]


@pytest.mark.parametrize(("files", "reason", "word"), FOLDERS)
def test_a_folder_is_skipped_and_says_why(tmp_path, files, reason, word):
    write(tmp_path / "org/m", files)
    found = Discovery([tmp_path]).scan()
    assert found.models == {}
    assert [skipped.path for skipped in found.skipped] == [tmp_path / "org/m"]
    sentence = found.skipped[0].reason
    assert pattern(reason) in sentence
    assert word in sentence


def test_each_reason_occurs():
    assert {reason for _, reason, _ in FOLDERS} | {Reason.UNREADABLE} == set(Reason)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": "x"},
        {"notes.part": "x"},
        {"tokenizer.json": "{}"},
        {"picture.safetensors.png": "x"},
        {".git/config.json": CONFIG, ".git/model.safetensors": EMPTY_WEIGHTS},
        {"deep/er/config.json": CONFIG, "deep/er/model.safetensors": EMPTY_WEIGHTS},
    ],
)
def test_what_holds_no_model_is_passed_over_in_silence(tmp_path, files):
    write(tmp_path / "org/m", files)
    found = Discovery([tmp_path]).scan()
    assert (found.models, found.skipped) == ({}, ())


@pytest.mark.parametrize(
    "extra",
    [
        {"adapters.safetensors": b"", "adapter_config.json": "{}"},
        {"consolidated.safetensors": b"half"},
        {"model.gguf": "x", "pytorch_model.bin": "x"},
        {"notes.json": "no JSON"},
        {".cache/huggingface/download/model.safetensors.metadata": "x"},
        {"original/consolidated.00.pth": "x"},
    ],
)
def test_what_stands_beside_a_models_own_files_does_not_harm_it(tmp_path, extra):
    write_model(tmp_path, "m")
    write(tmp_path / "m", extra)
    found = Discovery([tmp_path]).scan()
    assert (list(found.models), found.skipped) == (["m"], ())
    assert found.models["m"].size_bytes == len(EMPTY_WEIGHTS)
