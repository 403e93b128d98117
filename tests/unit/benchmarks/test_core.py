"""The core that benchmarks step by hand, and what they make of its times."""

from dataclasses import replace

import pytest

from benchmarks import bench_prefix_cache, bench_stalls
from benchmarks.bench_prefix_cache import PREFIX, Pair, core_pair
from benchmarks.bench_stalls import BEFORE, SETTLE, Join, core_stall, gaps_within, join, stall
from benchmarks.core import Core
from tests.fakes.model import echo_backend, model_info


@pytest.fixture
def core():
    return Core(replace(echo_backend(model_info("endless")), reuse_kv=True), 9)


def test_a_core_notes_when_each_token_came(core):
    first, second = core.add([1, 2, 3], 2), core.add([4], 5)
    core.step_until_started([first, second])
    assert core.unfinished == {first, second}
    core.step_until_ended(second)
    assert (len(core.arrivals[first]), len(core.arrivals[second])) == (2, 5)
    assert core.arrivals[second] == sorted(core.arrivals[second])
    assert core.unfinished == set()


def test_a_cleared_core_begins_anew(core):
    core.add(core.prompt(40))
    core.step(3)
    core.clear()
    assert core.unfinished == set()
    core.step_until_ended(core.add(core.prompt(40), 1))


def test_gaps_count_where_they_touch_a_stretch_of_time():
    assert gaps_within([[0.0, 1.0, 3.0, 6.0, 10.0], [2.0, 7.0]], 2.0, 5.0) == [2.0, 3.0, 5.0]
    assert gaps_within([[0.0, 1.0], [8.0, 9.0], [3.0], []], 2.0, 5.0) == []


def test_a_stall_is_what_became_of_even_gaps():
    even = [0.1 * step for step in range(1, SETTLE + BEFORE + 1)]
    sent = even[-1] + 0.05
    disturbed = [*even, sent + 0.3, sent + 0.4]
    found = stall([disturbed, disturbed], sent, [sent + 0.3, sent + 0.4])
    assert found.p50 == found.p99 == pytest.approx(0.1)
    assert found.with_max == pytest.approx(0.35)
    assert found.with_p50 == pytest.approx(0.225)
    assert found.ratio == pytest.approx(found.with_p99 / 0.1)
    assert found.long_ttft == pytest.approx(0.3)


def test_what_streams_do_before_all_are_settled_is_not_their_pace():
    late = [10.0 + 0.1 * step for step in range(SETTLE + BEFORE)]
    early = [0.0, 5.0, *late]
    found = stall([[*early, late[-1] + 0.1], [*late, late[-1] + 0.1]], late[-1] + 0.01, [late[-1] + 0.1])
    assert found.p99 == pytest.approx(0.1)


def test_the_core_is_stalled_and_joined(core):
    found = core_stall(core, 3, 200)
    assert 0 < found.p50 <= found.p99
    assert found.with_max >= found.with_p50 > 0
    joined = join(core, 128, 2)
    assert len(joined) == 2
    assert all(one.longest > 0 and one.ratio == pytest.approx(one.longest / one.step) for one in joined)
    assert core.unfinished == set()


def test_the_core_reuses_a_prefix(core):
    pair = core_pair(core)
    assert (pair.cold_cached_tokens, pair.cached_tokens) == (0, PREFIX)
    assert pair.is_sound
    assert not replace(pair, cached_tokens=0).is_sound
    assert not replace(pair, cold_cached_tokens=PREFIX).is_sound


def test_figures_are_medians():
    joins = [Join(0.1, longest, longest / 0.1, 0.5) for longest in (0.1, 0.9, 0.2)]
    assert bench_stalls.medians(joins) == {"step": 0.1, "longest": 0.2, "ratio": 2.0, "ttft": 0.5}
    pairs = [Pair(cold, cached, 1524, 0, 1472) for cold, cached in ((1.0, 0.2), (3.0, 0.1), (2.0, 9.0))]
    assert bench_prefix_cache.medians(pairs) == {
        "cold": 2.0,
        "cached": 0.2,
        "ratio": 0.1,
        "prompt_tokens": 1524,
        "cold_cached_tokens": 0,
        "cached_tokens": 1472,
    }
