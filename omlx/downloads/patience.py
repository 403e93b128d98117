"""How long a place may take over a question that somebody waits for, and how often it is asked again."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

from omlx.downloads.errors import TransientError, UnreachableError

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Patience:
    """A few quick tries within a time that ends, whatever the other side does.

    Attributes:
        seconds: For all tries together.
        tries: How many, at most.
        pause_seconds: Between two, unless the other side asks for another wait.
    """

    seconds: float = 20
    tries: int = 3
    pause_seconds: float = 0.5

    def ask(self, endpoint: str, question: Callable[[], _Answer]) -> _Answer:
        """The answer, from a thread of its own. Raises `UnreachableError` when none comes in time, and what the question raises.

        Args:
            endpoint: Whom it is put to, for the error.
            question: Makes its requests with time limits, so that a thread that is left behind ends too.
        """
        until = time.monotonic() + self.seconds
        answer: Future[_Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(self._repeat(question, until))
            except BaseException as error:  # to be raised where it is waited for
                answer.set_exception(error)

        # Limits of single reads and connections don't add up to one, and looking up a host's name has none.
        threading.Thread(target=run, daemon=True).start()
        wait([answer], self.seconds)
        if not answer.done():
            raise UnreachableError(f"{endpoint} didn't answer within {self.seconds:g} s. Try again later.")
        return answer.result()

    def _repeat(self, question: Callable[[], _Answer], until: float) -> _Answer:
        tried = 0
        while True:
            try:
                return question()
            except TransientError as error:
                tried += 1
                pause = self.pause_seconds if error.after is None else error.after
                if tried >= self.tries or time.monotonic() + pause >= until:
                    asked = f", and asks to come back in {error.after:.0f} s" if error.after else ""
                    raise UnreachableError(f"Given up: {error}{asked}. Try again later.") from error
            time.sleep(pause)
