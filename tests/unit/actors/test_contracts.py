"""What crosses a process arrives as it was sent."""

import pickle
from dataclasses import replace

import pytest

from actors import errors
from actors.contracts import Delta, LikelyToken, StepItem, TokenLogprob, ToolCall, Usage
from scheduler.stats import SchedulerStats

PART, SPACE = LikelyToken("\ufffd", (0xF0, 0x9F), -0.5), LikelyToken(" ", None, -2.25)


def test_a_step_item_survives_its_encoding():
    item = StepItem(
        (
            Delta("a", "héllo \U0001f600", 2),
            Delta("b", "", 1, "length", Usage(3, 4, 0.1, 0.2, 0.3)),
            Delta("c", finish_reason="error", error="out of memory"),
            Delta("d", "", 1, logprobs=(TokenLogprob(PART, (SPACE, PART)), TokenLogprob(SPACE))),
            Delta("e", "x", 1, "length", Usage(3, 4), logprobs=(TokenLogprob(SPACE),)),
            Delta("f", "x", 1, index=3),
            Delta("g", "", 1, reasoning="Hm", index=1),
            Delta("g", "", 1, reasoning="Hm", logprobs=(TokenLogprob(SPACE),)),
            Delta("g", "x", tool_calls=(ToolCall("a", "f", '{"é": 1}', 2), ToolCall("b", "g", "{}", 3))),
            Delta("g", "", 1, "stop", Usage(3, 4, reasoning_tokens=2), stop_text="END"),
            Delta("f", "y", 1, "stop", index=2),
            Delta("f", "z", 1, "length", Usage(3, 4), logprobs=(TokenLogprob(SPACE),), index=1),
        ),
        SchedulerStats(running=3, waiting=1, steps=9),
    )
    assert StepItem.decode(item.encode()) == item


def test_a_token_is_small_on_the_wire():
    none = len(StepItem((), SchedulerStats()).encode())
    one = Delta("chatcmpl-0123456789abcdef", " word", 1)
    assert len(StepItem((one,), SchedulerStats()).encode()) - none < 50
    assert len(StepItem((replace(one, index=100),), SchedulerStats()).encode()) - none < 50
    assert len(StepItem((replace(one, text="", reasoning=" word"),), SchedulerStats()).encode()) - none < 50


@pytest.mark.parametrize(
    "error",
    [
        errors.ModelNotFoundError("m", ["a", "b"]),
        errors.ModelLoadError("m", "no"),
        errors.EngineError("m", "no"),
        errors.InvalidJobError("no", "stop"),
        errors.ContextLengthError(10, 5, "messages"),
        errors.CatalogError("no"),
        errors.QueueFullError("m", 8, 17),
        errors.RequestTimeoutError("no"),
    ],
)
def test_errors_arrive_as_they_were_raised(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
