"""How many numbers weights stand for is told about right without their headers."""

import pytest

from omlx.downloads.parameters import from_counts, from_size

FOUR_BITS = {"quantization": {"bits": 4, "group_size": 64}}


@pytest.mark.parametrize(
    ("config", "bytes_per_number"),
    [
        ({}, 2),
        ({"torch_dtype": "bfloat16"}, 2),
        ({"dtype": "float32"}, 4),
        ({"text_config": {"torch_dtype": "float32"}}, 4),
        (FOUR_BITS, 4.5 / 8),
        ({"quantization": {"bits": 8, "group_size": 32}}, 9 / 8),
        ({"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}, 4.25 / 8),
        ({"quantization_config": {"bits": 4, "group_size": 128, "quant_method": "gptq"}}, 4.25 / 8),
        ({"quantization": {"bits": "four"}}, 2),
        ({"quantization": {"bits": 4, "group_size": -1}}, 0.5),
    ],
)
def test_by_the_size_of_files(config, bytes_per_number):
    assert from_size(9_000_000, config) == pytest.approx(9_000_000 / bytes_per_number, abs=1)


def test_a_size_that_can_not_be_breaks_nothing():
    assert from_size(10**400, FOUR_BITS) > 10**400


def test_packed_words_count_as_the_numbers_in_them():
    assert from_counts({"U32": 1000, "BF16": 250}, 4500, FOUR_BITS) == 8250


def test_words_that_were_unpacked_already_or_are_not_packed_count_once():
    assert from_counts({"U32": 8000, "BF16": 250}, 4500, FOUR_BITS) == 8250
    assert from_counts({"U32": 1000, "BF16": 250}, 4500, {}) == 1250
