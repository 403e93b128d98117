"""Sampling parameters are checked, and a row's random numbers are its own."""

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.sampling import SamplingParams, uniform_draw

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "bad",
    [
        *({"temperature": value} for value in (-0.1, NAN, INF)),
        *({"top_p": value} for value in (0.0, 1.1, NAN)),
        {"top_k": -1},
        *({"min_p": value} for value in (-0.1, 1.1, NAN)),
        *({"repetition_penalty": value} for value in (0.0, -1.0, NAN, INF)),
        *({name: value} for name in ("presence_penalty", "frequency_penalty") for value in (-2.1, 2.1, NAN)),
        *({"logit_bias": bias} for bias in ({-1: 1.0}, {1: NAN}, {1: INF})),
        *({"logprobs": value} for value in (-1, 21)),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SamplingParams(**bad)


@given(st.integers(0, 2**64 - 1), st.integers(0, 10**6))
def test_a_draw_is_a_fraction_that_float32_holds_exactly(seed, position):
    draw = uniform_draw(seed, position)
    assert 0.0 <= draw < 1.0
    assert (draw * 2**24).is_integer()


def test_draws_of_neighbouring_seeds_and_positions_look_independent():
    draws = [uniform_draw(seed, position) for seed in range(100) for position in range(100)]
    assert abs(statistics.mean(draws) - 0.5) < 0.01
    assert abs(statistics.pvariance(draws) - 1 / 12) < 0.003
    assert len(set(draws)) > 9980
    along_seed = statistics.correlation(draws[:-100], draws[100:])
    along_position = statistics.correlation(draws[:-1], draws[1:])
    assert abs(along_seed) < 0.04
    assert abs(along_position) < 0.04


def test_choices_draw_by_seeds_of_their_own_and_the_first_by_the_requests():
    params = SamplingParams(temperature=0.5, seed=7)
    assert params.for_choice(0) is params
    assert params.for_choice(3) == replace(params, seed=params.for_choice(3).seed)
    seeds = {SamplingParams(seed=seed).for_choice(index).seed for seed in (0, 1, 2**64 - 1) for index in range(128)}
    assert len(seeds) == 3 * 128
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_draws_of_neighbouring_choices_look_independent():
    seeds = [SamplingParams(seed=5).for_choice(index).seed for index in range(100)]
    draws = [uniform_draw(seed, position) for seed in seeds for position in range(100)]
    assert abs(statistics.mean(draws) - 0.5) < 0.01
    assert abs(statistics.correlation(draws[:-100], draws[100:])) < 0.04
