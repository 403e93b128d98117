"""Checkpoints are taken where others will begin, and they are few."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.checkpoints import checkpoints
from scheduler.prefix_cache import BLOCK_TOKENS, Hit


@pytest.mark.parametrize(
    ("length", "tokens", "shared", "window", "expected"),
    [
        (30, 0, 0, 0, ()),
        (100, 0, 0, 0, (64,)),  # the last four tokens may be the template's, and some before them too
        (104, 0, 0, 0, (96,)),
        (104, 64, 64, 0, (96,)),
        (104, 65, 65, 0, ()),  # nearer than a block to where it begins
        (300, 0, 130, 0, (128, 288)),
        (300, 128, 130, 0, (288,)),
        (100, 0, 98, 0, (64, 96)),
        (5000, 0, 0, 0, (512, 1024, 2048, 4096, 4992)),
        (5000, 700, 3000, 0, (1024, 2048, 2976, 4096, 4992)),
        (5000, 0, 0, 1024, (1024, 2048, 4096, 4992)),
        (5000, 0, 0, 1500, (2048, 4096, 4992)),
    ],
)
def test_places(length, tokens, shared, window, expected):
    assert checkpoints(length, Hit(tokens=tokens, shared=shared), window) == expected


@given(st.integers(1, 200_000), st.integers(0, 200_000), st.integers(0, 200_000), st.sampled_from([0, 128, 4096]))
def test_they_are_ends_of_blocks_within_the_context_and_few(length, one, other, window):
    tokens, shared = sorted((one % length, other % length))
    places = checkpoints(length, Hit(tokens=tokens, shared=shared), window)
    assert list(places) == sorted(set(places))
    assert all(place % BLOCK_TOKENS == 0 and tokens + BLOCK_TOKENS <= place < length for place in places)
    assert len(places) <= max(math.log2(length / 512), 0) + 3


@given(st.integers(2000, 100_000), st.data())
def test_whoever_parts_after_the_first_of_them_finds_half_of_what_it_shares(length, data):
    parts = data.draw(st.integers(512, length - 1))
    assert max(place for place in checkpoints(length, Hit(), 0) if place <= parts) >= parts / 2 - BLOCK_TOKENS
