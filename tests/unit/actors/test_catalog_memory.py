"""What there is for models, and what they take."""

from pathlib import Path

import pytest

from actors.catalog.memory import Machine, base_bytes, cgroup_limits, need_of, this_machine
from actors.contracts import EngineOptions
from actors.models import PICTURE_BYTES, ModelInfo, ModelType

GB = 1_000_000_000


def model(**fields):
    return ModelInfo("m", Path("/m"), **{"size_bytes": GB, "parameters": 2 * GB, **fields})


@pytest.mark.parametrize(
    ("machine", "share"),
    [
        (Machine("cpu", 10 * GB), 8 * GB),
        (Machine("cuda", 80 * GB), 72 * GB),
        (Machine("metal", 8 * GB), 4 * GB),
        (Machine("metal", 10 * GB), 6 * GB),  # all but 4 GB
        (Machine("metal", 64 * GB), 48 * GB),
    ],
)
def test_the_safe_share_leaves_headroom(machine, share):
    assert machine.safe_share == share


def test_weights_are_four_bytes_each_on_the_cpu_and_as_on_disk_elsewhere():
    process = base_bytes(model(size_bytes=0, parameters=0), "cpu")
    assert process >= 330_000_000
    assert base_bytes(model(), "cpu") == 8 * GB + process
    assert base_bytes(model(parameters=0), "cpu") == 2 * GB + process
    assert base_bytes(model(), "metal") == 1.05 * GB + process


def test_kv_is_what_the_settings_say_or_what_all_requests_could_use_within_what_is_free():
    options = EngineOptions(max_concurrent_requests=4)
    need = need_of(model(kv_bytes_per_token=100, context_length=10_000), options, "metal")
    assert (need.least_kv, need.most_kv) == (100 * 2048, 100 * 10_000 * 4)
    assert need.kv(need.base + 2 * 1_000_000) == 1_000_000  # half of what the weights leave
    assert need.kv(need.base + 100 * GB) == need.most_kv
    assert need.kv(need.least) == need.least_kv
    fixed = need_of(model(kv_bytes_per_token=100), EngineOptions(kv_cache_bytes=777), "metal")
    assert (fixed.least, fixed.kv(100 * GB)) == (fixed.base + 777, 777)


def test_kv_takes_twice_as_much_on_the_cpu_and_is_guessed_where_the_configuration_says_nothing():
    short = model(kv_bytes_per_token=100, context_length=10)
    assert need_of(short, EngineOptions(), "cpu").least_kv == 2 * need_of(short, EngineOptions(), "metal").least_kv == 2000
    unknown = need_of(model(), EngineOptions(), "cpu")
    assert 0 < unknown.least_kv <= unknown.most_kv


@pytest.mark.parametrize("type_", [ModelType.EMBEDDING, ModelType.RERANKER])
@pytest.mark.parametrize("options", [EngineOptions(), EngineOptions(kv_cache_bytes=777)])
def test_what_embeds_or_reranks_gets_no_kv(type_, options):
    encoder = model(type=type_, kv_bytes_per_token=100, context_length=10_000)
    need = need_of(encoder, options, "cpu")
    assert (need.least_kv, need.most_kv, need.kv(100 * GB)) == (0, 0, 0)
    assert base_bytes(encoder, "cpu") < need.least < base_bytes(encoder, "cpu") + GB


def test_what_sees_has_room_for_pictures():
    words, pictures = (base_bytes(model(type=type_), "cpu") for type_ in (ModelType.LLM, ModelType.VLM))
    assert pictures - words == PICTURE_BYTES
    assert base_bytes(model(type=ModelType.OCR), "cpu") == pictures


def test_limits_of_control_groups_are_found_from_a_group_up_to_the_root(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("0::/system/ours\n")
    root = tmp_path / "fs"
    (root / "system/ours").mkdir(parents=True)
    (root / "system/ours/memory.max").write_text("max\n")
    (root / "system/memory.max").write_text("5000\n")
    (root / "memory.max").write_text("7000\n")
    assert list(cgroup_limits(membership, root)) == [5000, 7000]


def test_limits_of_version_1_are_found_too_and_missing_ones_are_no_error(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("3:cpu:/x\n4:memory:/ours\n0::/\n")
    (tmp_path / "fs/memory/ours").mkdir(parents=True)
    (tmp_path / "fs/memory/ours/memory.limit_in_bytes").write_text("300\n")
    assert list(cgroup_limits(membership, tmp_path / "fs")) == [300]
    assert list(cgroup_limits(tmp_path / "nothing", tmp_path)) == []


def test_this_machine_has_memory():
    assert this_machine().total > 100_000_000
