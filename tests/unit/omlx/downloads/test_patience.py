"""Who waits for an answer gets it, or an error in time."""

import threading

import pytest

from omlx.downloads.errors import AccessError, TransientError, UnreachableError
from omlx.downloads.patience import Patience

PLACE = "https://hub.example"


def failing(*errors):
    """A question that fails so many times, and is answered then."""
    left = list(errors)

    def question():
        if left:
            raise left.pop(0)
        return "answer"

    return question


def test_an_answer_after_troubles():
    assert Patience(tries=3, pause_seconds=0).ask(PLACE, failing(TransientError("a"), TransientError("b", after=0))) == "answer"


def test_given_up_after_as_many_tries_with_the_last_trouble():
    with pytest.raises(UnreachableError, match=r"Given up: b\. Try again later\."):
        Patience(tries=2, pause_seconds=0).ask(PLACE, failing(TransientError("a"), TransientError("b")))


def test_no_wait_is_begun_that_would_end_too_late():
    with pytest.raises(UnreachableError, match=r"Given up: a, and asks to come back in 60 s\."):
        Patience(seconds=59).ask(PLACE, failing(TransientError("a", after=60)))
    with pytest.raises(UnreachableError, match=r"Given up: a\. Try"):
        Patience(seconds=30, pause_seconds=60).ask(PLACE, failing(TransientError("a")))


@pytest.mark.parametrize("error", [AccessError("no"), ValueError("ours"), TimeoutError("ours")])
def test_other_errors_are_raised_where_it_is_waited(error):
    with pytest.raises(type(error)) as caught:
        Patience().ask(PLACE, failing(error))
    assert caught.value is error


def test_a_question_that_never_ends_is_left_in_time():
    may_end = threading.Event()
    try:
        with pytest.raises(UnreachableError, match=f"{PLACE} didn't answer within 0.01 s"):
            Patience(seconds=0.01).ask(PLACE, may_end.wait)
    finally:
        may_end.set()
