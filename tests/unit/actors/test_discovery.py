"""Models are found wherever people keep them, noticed when they come, change and go, and told apart."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from actors.catalog import model_folder
from actors.catalog.discovery import Discovery
from actors.folder_revision import folder_revision, is_current
from actors.models import ModelType
from tests.fakes.model import CONTEXT, EMPTY_WEIGHTS, safetensors, write_model


@pytest.fixture
def readings(monkeypatch):
    """The folders that were read, in order."""
    read, whole = [], model_folder.read_folder

    def spy(folder, *rest):
        read.append(folder.name)
        return whole(folder, *rest)

    monkeypatch.setattr("actors.catalog.discovery.read_folder", spy)
    return read


def settle(folder):
    """Make everything old enough that a change is sure to show."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, ns=(time.time_ns() - 10**9,) * 2, follow_symlinks=False)


def write_cached(cache, repository, revision="abc", main="abc"):
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs/main").write_text(main)
    (folder / "blobs").mkdir(exist_ok=True)
    write_model(folder / "snapshots", revision)
    for file in (folder / "snapshots" / revision).iterdir():
        blob = folder / "blobs" / f"{revision}-{file.name}"
        file.rename(blob)
        file.symlink_to(blob)
    return folder


def test_models_are_found_in_both_layouts_by_their_folders_names(tmp_path):
    write_model(tmp_path / "one", "b")
    write_model(tmp_path / "one/org", "c")
    write_model(tmp_path / "two", "a")
    found = Discovery([tmp_path / "one", tmp_path / "two", tmp_path / "missing"]).scan()
    assert {name: model.path for name, model in found.models.items()} == {
        "a": tmp_path / "two/a",
        "b": tmp_path / "one/b",
        "c": tmp_path / "one/org/c",
    }
    assert list(found.models) == ["a", "b", "c"]
    assert {name: model.model_id for name, model in found.models.items()} == {"a": "a", "b": "b", "c": "c"}
    assert found.skipped == ()


def test_a_model_given_as_a_folder_of_models_counts_as_itself(tmp_path):
    write_model(tmp_path, "m")
    write_model(tmp_path / "m", "part")
    assert list(Discovery([tmp_path / "m"]).scan().models) == ["m"]
    assert list(Discovery([tmp_path, tmp_path / "m"]).scan().models) == ["m"]


def test_models_of_one_name_get_ids_that_tell_them_apart_and_lose_them_again(tmp_path):
    write_model(tmp_path / "models/one", "m")
    discovery = Discovery([tmp_path / "models"])
    assert list(discovery.scan().models) == ["m"]
    write_model(tmp_path / "models/two", "m")
    write_model(tmp_path / "models", "m")
    found = discovery.scan().models
    expected = {"models/m": "models/m", "one/m": "models/one/m", "two/m": "models/two/m"}
    assert {name: str(model.path.relative_to(tmp_path)) for name, model in found.items()} == expected
    assert all(model.model_id == name for name, model in found.items())
    for folder in ("models/two/m", "models/m"):
        for file in (tmp_path / folder).iterdir():
            file.unlink()
        (tmp_path / folder).rmdir()
    assert list(discovery.scan().models) == ["m"]


def test_a_relative_folder_of_models_is_taken_from_where_it_was_given(tmp_path, monkeypatch):
    write_model(tmp_path / "here", "m")
    monkeypatch.chdir(tmp_path / "here")
    discovery = Discovery([tmp_path.relative_to(tmp_path)])
    monkeypatch.chdir(tmp_path)
    assert discovery.scan().models["m"].path == tmp_path / "here/m"


def test_the_hugging_face_cache_is_looked_into(tmp_path):
    write_cached(tmp_path / "hub", "org/m")
    write_cached(tmp_path / "hub", "gpt2")
    (tmp_path / "hub/datasets--org--d/snapshots/abc").mkdir(parents=True)
    found = Discovery([tmp_path / "models"], tmp_path / "hub").scan()
    assert list(found.models) == ["gpt2", "m"]
    assert found.models["m"].path == tmp_path / "hub/models--org--m/snapshots/abc"
    write_model(tmp_path / "models", "m")
    assert list(Discovery([tmp_path / "models"], tmp_path / "hub").scan().models) == ["gpt2", "models/m", "org/m"]
    assert list(Discovery([tmp_path / "models"]).scan().models) == ["m"]


def test_of_a_cached_model_the_main_branchs_snapshot_counts_else_the_newest(tmp_path):
    folder = write_cached(tmp_path, "org/m", "old", main="old")
    write_cached(tmp_path, "org/m", "new", main="old")
    os.utime(folder / "snapshots/old", (1, 1))
    discovery = Discovery([], tmp_path)
    assert discovery.scan().models["m"].path.name == "old"
    (folder / "refs/main").write_text("new")
    assert discovery.scan().models["m"].path.name == "new"
    (folder / "refs/main").write_text("elsewhere")
    assert discovery.scan().models["m"].path.name == "new"
    (folder / "refs/main").unlink()
    assert discovery.scan().models["m"].path.name == "new"


def test_a_cached_model_is_served_once_its_download_is_complete(tmp_path):
    folder = write_cached(tmp_path, "org/m")
    (folder / "blobs/deadbeef.incomplete").write_text("x")
    discovery = Discovery([], tmp_path)
    assert "deadbeef.incomplete" in discovery.scan().skipped[0].reason
    (folder / "blobs/deadbeef.incomplete").unlink()
    assert list(discovery.scan().models) == ["m"]
    (folder / "blobs/abc-model.safetensors").rename(folder / "blobs/away")
    assert "model.safetensors is a link to what isn't there" in discovery.scan().skipped[0].reason
    (folder / "blobs/away").rename(folder / "blobs/abc-model.safetensors")
    assert list(discovery.scan().models) == ["m"]


def test_a_model_that_is_being_copied_is_served_once_it_is_whole(tmp_path):
    whole = safetensors({"model.layers.0.weight": ("F32", (4, 4))})
    folder = tmp_path / "m"
    folder.mkdir()
    discovery = Discovery([tmp_path])
    assert discovery.scan().models == {}
    (folder / "config.json").write_text('{"model_type": ')
    assert "config.json is no proper JSON" in discovery.scan().skipped[0].reason
    (folder / "config.json").write_text('{"model_type": "llama"}')
    with (folder / "model.safetensors").open("wb", buffering=0) as file:
        for start in range(0, len(whole), 40):
            file.write(whole[start : start + 40])
            done = start + 40 >= len(whole)
            assert list(discovery.scan().models) == (["m"] if done else [])
    assert discovery.scan().models["m"].parameters == 16


def test_only_what_has_changed_is_read_again(tmp_path, readings):
    for name in ("a", "b", "c"):
        write_model(tmp_path / "org", name)
    settle(tmp_path)
    discovery = Discovery([tmp_path])
    first = discovery.scan()
    readings.clear()
    assert discovery.scan() == first
    assert readings == []
    (tmp_path / "org/b/config.json").write_text('{"model_type": "qwen2"}')
    second = discovery.scan()
    assert readings == ["b"]
    assert second.models["b"].architecture == "qwen2"
    assert second.models["b"].revision != first.models["b"].revision
    assert second.models["a"] is first.models["a"]
    assert (is_current(first.models["b"]), is_current(second.models["b"])) == (False, True)
    readings.clear()
    discovery.refresh()
    assert set(readings) >= {"a", "b", "c"}


def test_models_come_and_go_between_scans(tmp_path):
    discovery = Discovery([tmp_path / "models"])
    assert discovery.scan().models == {}
    write_model(tmp_path / "models", "m")
    assert list(discovery.scan().models) == ["m"]
    (tmp_path / "models/m").rename(tmp_path / "models/n")
    assert list(discovery.scan().models) == ["n"]
    (tmp_path / "models/n/model.safetensors").unlink()
    assert [skipped.path.name for skipped in discovery.scan().skipped] == ["n"]


def test_links_are_followed_and_loops_end(tmp_path):
    write_model(tmp_path / "elsewhere", "real")
    models = tmp_path / "models"
    write_model(models / "org", "m")
    (models / "linked").symlink_to(tmp_path / "elsewhere/real")
    (models / "loop").symlink_to(models)
    (models / "org/up").symlink_to(models / "org")
    (models / "itself").symlink_to("itself")
    (models / "nowhere").symlink_to(tmp_path / "nothing")
    (models / "more").symlink_to(tmp_path / "elsewhere")
    found = Discovery([models]).scan()
    assert list(found.models) == ["linked", "m", "real"]
    assert found.models["linked"].path == models / "linked"


def test_a_folder_given_twice_or_by_a_link_is_one(tmp_path):
    write_model(tmp_path / "models/org", "m")
    (tmp_path / "again").symlink_to(tmp_path / "models")
    roots = [tmp_path / "models", tmp_path / "models/org", tmp_path / "again", tmp_path / "models"]
    assert list(Discovery(roots).scan().models) == ["m"]


def test_folders_with_a_dot_are_not_looked_into(tmp_path):
    write_model(tmp_path, ".pull-unfinished")
    write_model(tmp_path / ".org", "m")
    write_model(tmp_path / "org", ".m")
    found = Discovery([tmp_path]).scan()
    assert (found.models, found.skipped) == ({}, ())


def test_what_cannot_be_read_is_told_and_does_not_end_the_search(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        write_model(tmp_path, name)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    discovery = Discovery([tmp_path])
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        found = discovery.scan()
    assert list(found.models) == ["a", "c"]
    assert [(skipped.path.name, "Permission denied" in skipped.reason) for skipped in found.skipped] == [("b", True)]
    # Permissions leave no trace in a file's time.
    assert list(discovery.scan().models) == ["a", "b", "c"]


def test_a_model_says_what_there_is_to_know(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    config = {
        "model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64,
        "max_position_embeddings": CONTEXT, "quantization": {"group_size": 64, "bits": 4, "lm_head": {"bits": 8, "group_size": 64}},
        "auto_map": {"AutoModel": "modeling_own.Own"},
    }  # fmt: skip
    first = safetensors({"model.layers.0.q.weight": ("U32", (8, 8)), "model.layers.0.q.scales": ("BF16", (8, 1))})
    second = safetensors({"lm_head.weight": ("U32", (8, 16)), "lm_head.scales": ("BF16", (8, 1)), "norm.weight": ("BF16", (64,))})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model-00001-of-00002.safetensors").write_bytes(first)
    (folder / "model-00002-of-00002.safetensors").write_bytes(second)
    (folder / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "top_p": 0.95}')
    (folder / "tokenization_own.py").write_text("raise SystemExit('this must not run')")
    os.utime(folder / "config.json", (1_700_000_000, 1_700_000_000))
    model = Discovery([tmp_path]).scan().models["m"]
    assert (model.type, model.architecture, model.path) == (ModelType.LLM, "llama", folder)
    assert model.size_bytes == len(first) + len(second)
    assert model.parameters == 512 + 512 + 64
    assert (model.context_length, model.kv_bytes_per_token) == (CONTEXT, 2 * 2 * 2 * 2 * 16)
    assert (model.created, model.revision) == (1_700_000_000, folder_revision(folder))
    assert model.quantization == "4-bit (mixed)"
    assert model.generation == {"temperature": 0.6, "top_p": 0.95}
    assert model.own_code == ("modeling_own.py", "tokenization_own.py")


def test_what_sentence_transformers_puts_beside_a_model_tells_its_type(tmp_path):
    write_model(tmp_path, "m")
    (tmp_path / "m/config.json").write_text('{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}')
    discovery = Discovery([tmp_path])
    assert discovery.scan().models["m"].type is ModelType.LLM
    (tmp_path / "m/modules.json").write_text('[{"idx": 0, "type": "sentence_transformers.models.Pooling"}]')
    assert discovery.scan().models["m"].type is ModelType.EMBEDDING


def test_weights_tell_a_vision_model_from_its_text_alone(tmp_path):
    write_model(tmp_path, "m")
    (tmp_path / "m/config.json").write_text('{"model_type": "qwen3_5", "vision_config": {"depth": 1}}')
    discovery = Discovery([tmp_path])
    for tensor, expected in (
        ("language_model.lm_head.weight", ModelType.LLM),
        ("vision_tower.patch_embed.weight", ModelType.VLM),
    ):
        (tmp_path / "m/model.safetensors").write_bytes(safetensors({tensor: ("BF16", (1,))}))
        assert discovery.scan().models["m"].type is expected


def test_several_threads_may_look_at_once(tmp_path):
    for number in range(20):
        write_model(tmp_path, f"m{number:02}")
    discovery = Discovery([tmp_path])
    start = threading.Barrier(8)

    def look(number):
        start.wait()
        return [discovery.refresh() if number % 4 == 0 else discovery.scan() for _ in range(5)]

    with ThreadPoolExecutor(8) as threads:
        inventories = [each for found in threads.map(look, range(8)) for each in found]
    assert all(each == inventories[0] for each in inventories)
    assert len(inventories[0].models) == 20


def test_a_thousand_models_that_did_not_change_are_looked_at_in_little_time(tmp_path):
    for number in range(1000):
        folder = tmp_path / f"org{number % 50}" / f"m{number}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        (folder / "model.safetensors").write_bytes(EMPTY_WEIGHTS)
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json"):
            (folder / name).write_text("{}")
    discovery = Discovery([tmp_path])
    assert len(discovery.scan().models) == 1000
    times = []
    for _ in range(4):
        start = time.perf_counter()
        found = discovery.scan()
        times.append(time.perf_counter() - start)
    assert len(found.models) == 1000
    assert min(times) < 0.5  # 0.03 on two cores of a server
