"""What the times of a batch's tokens come to."""

import pytest

from omlx.benchmark.batch import Batch, Row


def row(*times, sent=0.0, prompt=10, cached=0):
    return Row(sent, [(at, 1) for at in times], prompt, cached)


def test_a_rate_is_from_a_token_to_a_token():
    assert row(1.0, 1.5, 2.0, 2.5, 3.0).rate(1.0, 4) == pytest.approx(2.0)
    assert row(1.0, 1.5, 2.0, 2.5, 3.0).rate(1.2, 3) == pytest.approx(2.0)  # the first that came by then is at 1.5


def test_tokens_that_came_together_all_count():
    assert Row(0.0, [(1.0, 1), (2.0, 3), (3.0, 1)]).rate(0.0, 3) == pytest.approx(3.0)


def test_there_is_no_rate_of_fewer_tokens_than_wanted_nor_of_none():
    assert row(1.0, 1.5, 2.0).rate(1.0, 3) is None
    assert row(1.0).rate(2.0, 1) is None
    assert row(1.0, 1.0).rate(1.0, 1) is None


def test_a_batch_has_begun_when_its_last_request_has():
    batch = Batch([row(1.0, 2.0, prompt=10), row(3.0, 4.0, prompt=20, cached=8), row(2.0, 3.0, prompt=30)])
    assert (batch.prompt_tokens, batch.ttft, batch.seconds) == (20, 2.0, 3.0)
    assert batch.cached_tokens == pytest.approx(8 / 3)


def test_decoding_counts_while_all_are_at_it():
    early = row(*(0.5 * step for step in range(1, 12)))
    late = row(*(3.0 + 0.5 * step for step in range(6)))
    assert Batch([early, late]).rates(5) == [pytest.approx(2.0)] * 2
    assert Batch([early, late]).rates(6) is None
