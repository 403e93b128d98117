"""The sampler draws from the distribution that the parameters describe, checked against plain numpy."""

from collections import Counter

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.logit_changes import LogitChanges
from scheduler.mlx import draw as draw_module
from scheduler.mlx.draw import exponential
from scheduler.mlx.sampler import Draw, _changed, sample
from scheduler.sampling import SamplingParams

LOGITS = [0.0, 1.0, 2.0, 3.0, -1.0]


def draw_many(params, logits=LOGITS, count=4000):
    """Token frequencies over many draws of one row."""
    draws = [Draw(SamplingParams(seed=seed, **params), position=3) for seed in range(count)]
    tokens = np.array(sample(mx.broadcast_to(mx.array(logits), (count, len(logits))), draws).tokens)
    return (np.bincount(tokens, minlength=len(logits)) / count).tolist()


def softmax(logits):
    weights = np.exp(np.array(logits, np.float64) - max(logits))
    return (weights / weights.sum()).tolist()


def changed(logits, params, prompt=(), output=(), min_tokens=0, stop=()):
    """What the parameters make of a row's logits, in the plainest way."""
    out = np.array(logits, np.float64)
    for token, bias in params.logit_bias.items():
        out[token] += bias
    if len(output) < min_tokens:
        out[list(stop)] = -np.inf
    for token in {*prompt, *output}:
        out[token] = out[token] / params.repetition_penalty if out[token] > 0 else out[token] * params.repetition_penalty
    for token, count in Counter(output).items():
        out[token] -= params.presence_penalty + params.frequency_penalty * count
    return out


def distribution(logits, params):
    """The probabilities to draw from: temperature, then top_k, top_p and min_p on what is left, by sorting everything."""
    probabilities = np.array(softmax(np.array(logits, np.float64) / params.temperature))
    if 0 < params.top_k < len(logits):
        probabilities[probabilities < np.sort(probabilities)[-params.top_k]] = 0
        probabilities /= probabilities.sum()
    if params.top_p < 1:
        falling = np.sort(probabilities)[::-1]
        size = int((np.cumsum(falling) - falling < params.top_p).sum())
        probabilities[probabilities < falling[size - 1]] = 0
    probabilities[probabilities < params.min_p * probabilities.max()] = 0
    return probabilities / probabilities.sum()


def changes_of(params, prompt=(), output=(), min_tokens=0, stop=()):
    changes = LogitChanges.of(params, prompt, min_tokens, stop)
    for token in output if changes else ():
        changes.append(token)
    return changes


def test_zero_temperature_takes_the_most_likely():
    logits = mx.array([LOGITS, LOGITS[::-1]])
    greedy = Draw(SamplingParams(temperature=0.0), 0)
    assert sample(logits, [greedy, greedy]).tokens.tolist() == [3, 1]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax_at_a_temperature(temperature):
    expected = softmax([logit / temperature for logit in LOGITS])
    assert draw_many({"temperature": temperature}) == pytest.approx(expected, abs=0.025)


def test_the_smallest_temperatures_are_greedy_and_break_nothing():
    for temperature in (1e-300, 1e-30, 1e-6, 1.1e-5):
        assert draw_many({"temperature": temperature}, count=50) == [0, 0, 0, 1, 0]


def test_top_k_keeps_the_most_likely_and_their_equals():
    assert draw_many({"top_k": 1}) == [0, 0, 0, 1, 0]
    assert draw_many({"top_k": 2}) == pytest.approx([0, 0, *softmax([2, 3]), 0], abs=0.025)
    assert draw_many({"top_k": 5}) == draw_many({}) == draw_many({"top_k": 500})
    assert draw_many({"top_k": 2}, [1.0, 1.0, 1.0, 2.0]) == pytest.approx(softmax([1, 1, 1, 2]), abs=0.025)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    # Of tokens 3 and 2 together: 0.86.
    assert draw_many({"top_p": 0.8}) == pytest.approx([0, 0, *softmax([2, 3]), 0], abs=0.025)
    assert draw_many({"top_p": 0.01}) == [0, 0, 0, 1, 0]


def test_top_p_is_of_what_top_k_left():
    # Of tokens 3 and 2, the first has 0.73: alone enough for 0.7, though of all tokens it has 0.64.
    assert draw_many({"top_p": 0.7}) != [0, 0, 0, 1, 0]
    assert draw_many({"top_p": 0.7, "top_k": 2}) == [0, 0, 0, 1, 0]


def test_min_p_keeps_what_is_likely_enough_beside_the_most_likely():
    assert draw_many({"min_p": 0.3}) == pytest.approx([0, 0, *softmax([2, 3]), 0], abs=0.025)  # e**-1 is 0.37, e**-2 0.14
    assert draw_many({"min_p": 0.3, "temperature": 2.0}) == pytest.approx([0, *softmax([0.5, 1, 1.5]), 0], abs=0.025)
    assert draw_many({"min_p": 1.0}) == [0, 0, 0, 1, 0]


def test_an_impossible_token_is_never_drawn():
    logits = mx.array([[-float("inf"), 0.0, -float("inf")]] * 400)
    draws = [Draw(SamplingParams(temperature=1.5, top_p=[1.0, 0.99][seed % 2], seed=seed), 0) for seed in range(400)]
    assert set(sample(logits, draws).tokens.tolist()) == {1}


def test_the_exponential_is_right_to_float32():
    values = -np.concatenate([np.linspace(0, 90, 20001), [0.0, 1e-30, 200, 1e30, np.inf]]).astype(np.float32)
    got = np.array(exponential(mx.array(values)))
    expected = np.exp(values.astype(np.float64))
    near = values > -87
    assert np.abs(got[near] / expected[near] - 1).max() < 5e-6
    assert np.abs(got / np.maximum(expected, 1e-300) - 1)[values >= -1].max() < 2e-7
    assert np.all(got[values < -88] == 0)
    assert np.all(np.diff(got[:20001]) <= 0)


PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    top_k=st.sampled_from([0, 0, 1, 3, 40, 1023, 1024, 5000]),
    top_p=st.sampled_from([1.0, 1.0, 0.1, 0.9, 0.999]),
    min_p=st.sampled_from([0.0, 0.0, 0.02, 0.5, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.3, 0.8]),
    presence_penalty=st.sampled_from([0.0, 0.0, 1.5, -1.0]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.7, -0.5]),
    logit_bias=st.dictionaries(st.integers(0, 9), st.sampled_from([-100.0, -1.5, 3.0]), max_size=3),
    logprobs=st.sampled_from([None, None, 0, 1, 5, 20]),
    seed=st.integers(0, 2**64 - 1),
)
TOKENS = st.lists(st.integers(0, 12), max_size=8)
ROWS = st.lists(st.tuples(PARAMS, TOKENS, TOKENS, st.integers(0, 5), st.sampled_from([0.2, 2.0, 6.0])), min_size=1, max_size=6)


@pytest.mark.parametrize("size", [40, 5003])  # all at once, and by the likeliest first
@settings(max_examples=60, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 1000))
def test_a_row_is_the_same_alone_and_among_others_and_lies_in_its_distribution(size, rows, seed):
    spread = np.array([[row[4]] for row in rows])
    logits = mx.array((np.random.default_rng(seed).normal(size=(len(rows), size)) * spread).astype(np.float32))
    stop = (2, 3)

    def draw(params, prompt, output, min_tokens, _spread):
        return Draw(params, len(output), changes_of(params, prompt, output, min_tokens, stop))

    names = [str(n) for n in range(len(rows))]
    together = sample(logits, [draw(*row) for row in rows]).result(names)
    for n, row in enumerate(rows):
        alone = sample(logits[n : n + 1], [draw(*row)]).result([names[n]])
        token = together.tokens[names[n]]
        assert alone.tokens[names[n]] == token
        assert alone.logprobs.get(names[n]) == together.logprobs.get(names[n])
        params, prompt, output, min_tokens, _ = row
        expected = changed(np.array(logits[n]), params, prompt, output, min_tokens, stop)
        if params.greedy:
            assert expected[token] == pytest.approx(expected.max(), abs=1e-4)
        else:
            # A little more than is kept, since which token is the last depends on rounding.
            wider = {"top_p": min(1.0, params.top_p * 1.0001), "min_p": params.min_p * 0.9999}
            kept = distribution(expected, SamplingParams(temperature=params.temperature, top_k=params.top_k, **wider))
            assert kept[token] > 0


@settings(max_examples=40, deadline=None)
@given(params=PARAMS.filter(lambda params: not params.greedy), seed=st.integers(0, 1000), spread=st.sampled_from([0.3, 2.0, 6.0]))
def test_likeliest_first_draws_what_sorting_everything_draws(params, seed, spread):
    logits = (np.random.default_rng(seed).normal(size=4000) * spread).astype(np.float32)
    draws = [Draw(SamplingParams(params.temperature, params.top_p, n, params.top_k, params.min_p), 0) for n in range(64)]
    rows = mx.broadcast_to(mx.array(logits), (64, 4000))
    quick = np.array(sample(rows, draws).tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw_module, "_CANDIDATES", ())
        full = np.array(sample(rows, draws).tokens)
    assert (quick != full).sum() <= 1  # a number may fall on the border of two tokens, which rounding moves
    cumulative = np.cumsum(distribution(logits, params))
    ideal = np.searchsorted(cumulative, [each.uniform for each in draws], side="right")
    assert (full != ideal).sum() <= 2


def test_more_rows_than_a_block_are_as_they_are_alone():
    logits = mx.array(np.random.default_rng(3).normal(size=(45, 300)).astype(np.float32) * 2)
    kinds = ({}, {"temperature": 0.0}, {"top_p": 0.9}, {"top_k": 7, "temperature": 1.3})
    draws = [Draw(SamplingParams(**kinds[n % 4], seed=n, logprobs=1), n) for n in range(45)]
    together = sample(logits, draws).result([str(n) for n in range(45)])
    for n, each in enumerate(draws):
        alone = sample(logits[n : n + 1], [each]).result([str(n)])
        assert alone.tokens[str(n)] == together.tokens[str(n)]
        assert alone.logprobs[str(n)] == together.logprobs[str(n)]


def test_flat_rows_are_drawn_from_all_tokens_beside_peaked_ones(monkeypatch):
    monkeypatch.setattr(draw_module, "_CANDIDATES", (50, 500))
    rising = [np.linspace(0, height, 5000, dtype=np.float32) for height in (0, 50, 1000)]  # the nucleus: all, 230 and 12
    draws = [Draw(SamplingParams(top_p=0.9, seed=n), 0) for n in range(60)]
    tokens = sample(mx.array(np.stack(rising * 20)), draws).tokens.tolist()
    assert min(tokens[::3]) < 1500  # all are equally likely, so all are kept
    assert 4760 < min(tokens[1::3]) < 4950
    assert min(tokens[2::3]) > 4987


def test_parameters_that_ask_for_nothing_cost_one_argmax(monkeypatch):
    calls = Counter()
    for name in ("argmax", "sort", "exp", "argpartition", "cumsum", "logsumexp", "where", "max", "array", "concatenate"):
        function = getattr(mx, name)
        if name != "array":
            monkeypatch.setattr(
                mx, name, lambda *args, _name=name, _f=function, **kw: (calls.update([_name]), _f(*args, **kw))[1]
            )
    sample(mx.zeros((4, 10)), [Draw(SamplingParams(temperature=0.0, top_p=0.5), n) for n in range(4)])
    assert calls == {"argmax": 1}


def test_penalties_follow_their_rules():
    params = SamplingParams(repetition_penalty=2.0, presence_penalty=0.5, frequency_penalty=0.25, temperature=0.0)
    expected = changed(LOGITS, params, prompt=(4, 3), output=(2, 2, 0))
    assert expected.tolist() == [-0.75, 1.0, 0.0, 1.5, -2.0]
    draw = Draw(params, 3, changes_of(params, (4, 3), (2, 2, 0)))
    other = Draw(SamplingParams(temperature=0.0), 3)
    assert np.array(_changed(mx.array([LOGITS] * 2), [draw, other])).tolist() == [expected.tolist(), LOGITS]


def test_a_penalty_makes_way_for_others():
    params = SamplingParams(temperature=0.0, presence_penalty=0.6, frequency_penalty=0.6)
    changes, said = changes_of(params), []
    for position in range(4):
        said += sample(mx.array([LOGITS]), [Draw(params, position, changes)]).tokens.tolist()
        changes.append(said[-1])
    # 3 falls from 3 to 1.8, below 2; that to 0.8; 3 to 1.2, the 1 is next
    assert said == [3, 2, 3, 3]


def test_logit_bias_forces_and_forbids():
    def said(bias):
        params = SamplingParams(logit_bias=bias)
        return set(sample(mx.array([LOGITS] * 50), [Draw(params, n, changes_of(params)) for n in range(50)]).tokens.tolist())

    assert said({4: 100.0}) == {4}
    assert said({3: -100.0, 2: -100.0, 1: -100.0}) <= {0, 4}


def test_stop_tokens_are_impossible_until_min_tokens():
    params = SamplingParams(temperature=0.0)
    changes = changes_of(params, min_tokens=2, stop=(3,))
    said = [sample(mx.array([LOGITS]), [Draw(params, position, changes)]).tokens.item() for position in range(4)]
    assert said == [2, 2, 3, 3]
    assert len(changes.tokens) == 0  # nothing is left to do


def test_stop_tokens_keep_their_bias_after_min_tokens():
    params = SamplingParams(temperature=0.0, logit_bias={3: -1.5})
    changes = changes_of(params, min_tokens=1, stop=(3, 2))
    said = [sample(mx.array([LOGITS]), [Draw(params, position, changes)]).tokens.item() for position in range(2)]
    assert said == [1, 2]


def test_logprobs_are_the_models_own():
    logits = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32) * 3
    expected = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    asked = [None, 0, 20, 3]
    draws = []
    for n, count in enumerate(asked):
        params = SamplingParams(temperature=0.7, top_k=2, logit_bias={n: 100.0}, logprobs=count)
        draws.append(Draw(params, 0, changes_of(params)))
    result = sample(mx.array(logits), draws).result("abcd")
    assert list(result.tokens.values()) == [0, 1, 2, 3]
    assert set(result.logprobs) == {"b", "c", "d"}
    for n, (name, count) in enumerate(zip("abcd", asked, strict=True)):
        if count is not None:
            found = result.logprobs[name]
            assert found.token == n
            assert found.logprob == pytest.approx(expected[n, n], abs=1e-5)
            assert [token for token, _ in found.top] == np.argsort(-expected[n])[:count].tolist()
            assert [value for _, value in found.top] == pytest.approx(np.sort(expected[n])[::-1][:count], abs=1e-5)


def test_logprobs_of_a_small_vocabulary_and_of_impossible_tokens():
    params = SamplingParams(temperature=0.0, logprobs=5)
    found = sample(mx.array([[0.0, -float("inf"), 0.0]]), [Draw(params, 0)]).result(["a"]).logprobs["a"]
    assert found.logprob == pytest.approx(-np.log(2))
    assert found.top[-1] == (1, -9999.0)


def test_logprobs_do_not_change_the_logits_or_the_draw():
    logits = mx.array([LOGITS])
    params = SamplingParams(temperature=0.0, logit_bias={0: 50.0})
    assert sample(logits, [Draw(params, 0, changes_of(params))]).tokens.item() == 0
    assert logits.tolist() == [LOGITS]
