"""Prose is as long as ordered, and begins as nothing else does where it is to."""

from random import SystemRandom

import pytest

from omlx.benchmark.prose import OPENING_WORDS, Writer


def count_words(text):
    return len(text.split())


@pytest.mark.parametrize("tokens", [1, 30, 500])
def test_prose_has_the_length_that_was_ordered(tokens):
    assert count_words(Writer(count_words, SystemRandom()).prose(tokens)) == tokens


def test_tokens_are_counted_as_the_writer_is_told():
    assert 250 <= count_words(Writer(lambda text: 2 * count_words(text), SystemRandom()).prose(510)) <= 255


def test_openings_differ_so_that_nothing_is_found_computed():
    writer = Writer(count_words, SystemRandom())
    openings = [writer.opening() for _ in range(10_000)]
    assert len(set(openings)) == 10_000
    assert {count_words(opening) for opening in openings} == {OPENING_WORDS}
