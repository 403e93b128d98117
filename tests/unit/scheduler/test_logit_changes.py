"""What a row changes in its logits is kept up with its output, and is what the rules say of the whole of it."""

import math
from array import array
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.logit_changes import LogitChanges
from scheduler.request import Request, Sequence
from scheduler.sampling import SamplingParams

tokens = st.lists(st.integers(0, 9), max_size=12)


def entries(changes):
    columns = (changes.tokens, changes.bias, changes.factor, changes.loss)
    return {token: tuple(rest) for token, *rest in zip(*columns, strict=True)}


@given(
    tokens, tokens, st.dictionaries(st.integers(0, 9), st.integers(-9, 9)), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 4)
)
def test_the_columns_are_those_of_the_whole_history(prompt, output, bias, repetition, min_tokens):
    params = SamplingParams(repetition_penalty=repetition, presence_penalty=0.5, frequency_penalty=0.25, logit_bias=bias)
    changes = LogitChanges.of(params, prompt, min_tokens, (3, 7))
    for position, token in enumerate(output):
        changes.advance(position)
        changes.append(token)
    changes.advance(len(output))
    counts = Counter(output)
    for token, (add, factor, loss) in entries(changes).items():
        masked = token in (3, 7) and len(output) < min_tokens
        assert add == (-math.inf if masked else bias.get(token, 0))
        assert factor == (repetition if token in {*prompt, *output} else 1)
        assert loss == (0.5 + 0.25 * counts[token] if token in counts else 0)
    changed = {*bias, *output, *(prompt if repetition != 1 else ()), *((3, 7) if len(output) < min_tokens else ())}
    assert changed <= set(changes.tokens)
    assert len(set(changes.tokens)) == len(changes.tokens)


def test_a_request_that_asks_for_nothing_has_none():
    assert Sequence(Request("a", (1,), 5, frozenset({2})), 0.0).changes is None


def test_a_request_without_a_repetition_penalty_does_not_keep_its_prompt():
    changes = LogitChanges.of(SamplingParams(presence_penalty=1.0), range(1000), 0, ())
    assert len(changes.tokens) == 0


def test_a_sequence_tells_its_changes_of_every_token():
    request = Request("a", (1, 2), 5, frozenset({9}), SamplingParams(frequency_penalty=1.0), min_tokens=2)
    sequence = Sequence(request, 0.0)
    for token in (4, 4, 5):
        sequence.append(token, 0.0)
    assert entries(sequence.changes)[4] == (0, 1, 2)
    assert entries(sequence.changes)[5] == (0, 1, 1)


def test_a_mask_alone_costs_nothing_once_it_is_over():
    changes = LogitChanges.of(SamplingParams(), (1,), 2, (9,))
    changes.advance(1)
    assert entries(changes) == {9: (-math.inf, 1, 0)}
    changes.advance(2)
    changes.append(5)
    assert changes.tokens == array("i")


@pytest.mark.parametrize("min_tokens", [-1, 6])
def test_more_tokens_than_there_may_be_are_refused(min_tokens):
    with pytest.raises(ValueError, match="min_tokens"):
        Request("a", (1,), 5, min_tokens=min_tokens)


def test_what_is_no_word_of_a_prompt_is_not_penalised():
    changes = LogitChanges.of(SamplingParams(repetition_penalty=1.5), (3, -7, -7, 4), 0, ())
    assert sorted(changes.tokens) == [3, 4]
