"""A safetensors file is judged by its header: whole or not, and what its tensors stand for."""

import json

import pytest

from actors.catalog.safetensors_header import HeaderError, LfsPointerError, TruncatedError, count_parameters, read_header
from tests.fakes.model import EMPTY_WEIGHTS, safetensors

PAIR = safetensors({"a.weight": ("F32", (2, 3)), "b.bias": ("BF16", (4,))})


def write(tmp_path, data):
    (tmp_path / "model.safetensors").write_bytes(data)
    return tmp_path / "model.safetensors"


def test_a_header_names_its_tensors(tmp_path):
    tensors = read_header(write(tmp_path, PAIR))
    assert {name: (each.dtype, each.shape, each.size) for name, each in tensors.items()} == {
        "a.weight": ("F32", (2, 3), 6),
        "b.bias": ("BF16", (4,), 4),
    }
    assert read_header(write(tmp_path, EMPTY_WEIGHTS)) == {}


@pytest.mark.parametrize("size", [0, 7, 8, 40, len(PAIR) - 1])
def test_a_half_copied_file_says_how_far_it_is(tmp_path, size):
    with pytest.raises(TruncatedError) as raised:
        read_header(write(tmp_path, PAIR[:size]))
    assert raised.value.size == size < raised.value.expected <= len(PAIR)


def header(text):
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        bytes(1000),  # reserved on the disk and not written
        PAIR + b"x",
        b"\xff" * 8 + PAIR[8:],
        header(b"{nothing"),
        header(b"[1]"),
        header(b"\xff\xff"),
        header(b"[" * 200_000),
        header(json.dumps({"a": {"dtype": "F32", "shape": [1]}}).encode()),
        header(json.dumps({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}).encode()),
        header(json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}).encode()),
        header(json.dumps({"a": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 0]}}).encode()),
    ],
)
def test_a_corrupt_file_is_refused(tmp_path, data):
    with pytest.raises(HeaderError) as raised:
        read_header(write(tmp_path, data))
    assert not isinstance(raised.value, TruncatedError | LfsPointerError)


def test_a_pointer_of_git_lfs_is_told_from_a_corrupt_file(tmp_path):
    with pytest.raises(LfsPointerError):
        read_header(write(tmp_path, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"))


@pytest.mark.parametrize(
    ("tensors", "bits", "expected"),
    [
        ({"a.weight": ("BF16", (8, 64)), "a.bias": ("BF16", (8,))}, {}, 520),
        ({"a.weight": ("U32", (8, 8)), "a.scales": ("BF16", (8, 1)), "a.biases": ("BF16", (8, 1))}, {"a": 4}, 512),
        ({"a.weight": ("U32", (8, 16)), "a.scales": ("BF16", (8, 1))}, {"a": 8}, 512),
        ({"a.weight": ("U32", (8, 12)), "a.scales": ("BF16", (8, 1))}, {"a": 6}, 512),
        ({"a.weight": ("U32", (8, 8))}, {"a": 4}, 64),  # no scales beside it: integers as they are
        ({"a.qweight": ("I32", (8, 8)), "a.qzeros": ("I32", (1, 8)), "a.scales": ("F16", (1, 64))}, {"a": 4}, 512),
        ({"e.gate_up_proj_blocks": ("U8", (4, 16)), "e.gate_up_proj_scales": ("U8", (4, 1))}, {}, 128),
    ],
)
def test_packed_weights_count_as_what_they_stand_for(tmp_path, tensors, bits, expected):
    assert count_parameters(read_header(write(tmp_path, safetensors(tensors))), bits.get) == expected
