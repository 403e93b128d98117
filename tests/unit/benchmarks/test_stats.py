"""What a run's answers add up to."""

from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.client import Measured
from benchmarks.stats import Slo, medians, percentile, summarize

SLO = Slo(ttft=1.0, itl=0.1)


def answer(sent=0.0, ttft=0.5, gap=0.05, tokens=5, error=None):
    arrivals = [sent + ttft + gap * index for index in range(tokens)]
    return Measured(sent, "x", arrivals, sent + ttft + gap * tokens, 10, tokens, error)


def test_percentiles_of_nothing_and_of_one():
    assert percentile([], 50) is None
    assert percentile([7.0], 99) == 7.0


def test_percentiles_lie_between_neighbours():
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.5
    assert percentile([4.0, 1.0], 100) == 4.0
    assert percentile([4.0, 1.0], 0) == 1.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50), st.integers(1, 99))
def test_percentiles_are_those_of_the_standard_library(values, percent):
    assert percentile(values, percent) == pytest.approx(quantiles(values, n=100, method="inclusive")[percent - 1], abs=1e-6)


def test_an_slo_is_met_by_answers_that_came_soon_and_evenly():
    assert SLO.is_met(answer())
    assert SLO.is_met(answer(tokens=1))
    assert not SLO.is_met(answer(ttft=1.5))
    assert not SLO.is_met(answer(gap=0.2))
    assert not SLO.is_met(answer(error="gone"))
    assert not SLO.is_met(answer(tokens=0))


def test_a_summary_counts_what_came_over_the_whole_run():
    summary = summarize([answer(), answer(sent=1.0, ttft=1.5), answer(error="gone", tokens=2)], SLO, client_seconds=0.55)
    assert (summary.requests, summary.errors) == (3, 1)
    assert summary.seconds == pytest.approx(2.75)
    assert summary.output_tokens == 10
    assert summary.tokens_per_second == pytest.approx(10 / 2.75)
    assert summary.ttft_p50 == pytest.approx(1.0)
    assert summary.itl_p99 == pytest.approx(0.05)
    assert summary.goodput == pytest.approx(1 / 2.75)
    assert summary.attainment == pytest.approx(1 / 3)
    assert summary.client_load == pytest.approx(0.2)


def test_a_run_that_failed_altogether_is_a_summary_too():
    summary = summarize([answer(error="gone", tokens=0)], SLO, 0.0)
    assert (summary.errors, summary.ttft_p50, summary.itl_p99, summary.goodput) == (1, None, None, 0.0)


def test_medians_are_of_the_rounds_that_have_a_figure_and_errors_add_up():
    rounds = [summarize([answer(ttft=ttft)], SLO, 0.0) for ttft in (0.1, 0.3, 0.2)]
    rounds += [summarize([answer(error="gone", tokens=0)], SLO, 0.0)] * 2
    figures = medians(rounds)
    assert figures["ttft_p50"] == pytest.approx(0.2)
    assert figures["errors"] == 2
