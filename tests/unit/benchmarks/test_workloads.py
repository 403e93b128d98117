"""Prompts are the same for the same seed, about as long as ordered, and come when they should."""

import pytest

from benchmarks.workloads import WORKLOADS, Prompt, make_workload, poisson


def count_words(text):
    return len(text.split())


def texts(name, **options):
    return [prompt.text for prompt in make_workload(name, count_words, 8, 32, **{"seed": 1} | options)]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_seed_gives_the_same_workload_again_and_another_seed_another_one(name):
    assert make_workload(name, count_words, 8, 32, seed=1) == make_workload(name, count_words, 8, 32, seed=1)
    assert not set(texts(name)) & set(texts(name, seed=2))


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_two_prompts_are_the_same(name):
    assert len(set(texts(name))) == 8


def test_prompts_have_about_the_wanted_length():
    assert all(20 <= count_words(text) <= 100 for text in texts("chat"))
    assert all(1990 <= count_words(text) <= 2000 for text in texts("long"))


def test_all_prompts_have_the_length_that_was_ordered():
    assert all(398 <= count_words(text) <= 400 for text in texts("chat", tokens=400))


def test_a_shared_prefix_is_shared_and_long():
    first, *others = (text.split() for text in texts("shared-prefix"))
    assert all(other[:1500] == first[:1500] for other in others)
    assert len(first) < 1540


def test_mixed_lengths_are_mixed():
    prompts = make_workload("mixed", count_words, 64, 32, seed=0)
    lengths = [count_words(prompt.text) for prompt in prompts]
    assert min(lengths) < 50
    assert max(lengths) > 500
    assert len({prompt.max_tokens for prompt in prompts}) > 10
    assert all(8 <= prompt.max_tokens <= 32 for prompt in prompts)


def test_a_burst_comes_at_once_and_then_again():
    assert [prompt.at for prompt in make_workload("burst", count_words, 17, 32, seed=0)] == [0.0] * 8 + [10.0] * 8 + [20.0]


def test_poisson_arrivals_begin_at_once_and_keep_their_rate():
    prompts = poisson([Prompt("hi", 1)] * 2000, 4.0, seed=3)
    times = [prompt.at for prompt in prompts]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert times[-1] == pytest.approx(500, rel=0.1)
    assert prompts == poisson([Prompt("hi", 1)] * 2000, 4.0, seed=3)
