"""A job that has not ended: whose it is, which of its choices go on, and what the others took."""

import asyncio
from dataclasses import dataclass

from actors.contracts import Usage
from actors.engine.answer_text import AnswerText
from scheduler.step import TokenEvent


@dataclass(slots=True)
class Answer:
    """What an engine keeps of a job until its last choice has ended.

    Attributes:
        running: The ids of the scheduler's requests that have not ended, one a choice, in order.
        first: The last event of the first choice, once that has ended.
        timer: What ends it when its time is over.
    """

    request_id: str
    consumer: str
    prompt_tokens: int
    running: list[str]
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    first: TokenEvent | None = None
    timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """Let nothing happen to it any more."""
        if self.timer is not None:
            self.timer.cancel()

    def usage(self) -> Usage:
        """What all of it took, once every choice has ended."""
        assert self.first is not None
        return Usage(
            self.prompt_tokens,
            self.completion_tokens,
            self.first.timing.queue,
            self.first.timing.prefill,
            self.first.decode,
            self.first.cached_tokens,
            self.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of an answer that has not ended: which, and its text so far."""

    answer: Answer
    index: int
    text: AnswerText
