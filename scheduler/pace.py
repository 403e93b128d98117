"""How many prompt tokens a step may take, learned from how long the steps before it took."""

from collections import deque
from math import inf
from statistics import median

_FORGET = 0.8  # of a measurement's weight is left with each one after it
_FIRST_CHUNK = 64  # tokens, before anything has been measured
_SMALLEST_CHUNK = 8  # tokens: prompts go on even where decoding alone takes longer than it may
_IDLE_SECONDS = 0.5  # a step without decoding: new requests and aborts are heard after it, or after two where plans look ahead
_SLOWDOWN = 2.25  # times as long as decoding alone may a step take that decodes and feeds prompts
_LEAST = 1 / 8  # of the seconds allowed are taken however fast decoding alone would be
_OUTLIER = 4.0  # times as long as expected: what is beyond says more of the machine than of the step
_MIXED_STEPS = 32  # in a row, after which a step decodes alone, to tell what that takes by now
_OTHER_STEPS = 2  # the same, where there are other rows than were measured; a short prompt has gone in by then
_ALIKE = 1.25  # times as many rows take about as long


class StepPacer:
    """Chooses a step's prompt tokens so that running streams wait no longer than they may.

    Streams are slowed down by a factor at the most, within the seconds that are allowed. A step is taken to last as long as its
    decoding plus a time for each prompt token. Steps without prompts tell the first, and where prompts come without a pause,
    such a step is taken now and then. What the others took beyond it tells the second, the latest steps counting most.

    Args:
        max_stall: Seconds that a step with running sequences may last.
        largest: Prompt tokens that a step takes at the most.
    """

    def __init__(self, max_stall: float, largest: int) -> None:
        self._max_stall = max_stall
        self._largest = largest
        self._decoding = _Decoding()
        self._prompts = _Rate()

    def budget(self, rows: int) -> int:
        """Prompt tokens for the next step, which decodes so many rows. 0 where decoding them is to be measured by itself."""
        if rows and self._decoding.is_due(rows):
            self._decoding.ask(rows)
            return 0
        each = self._prompts.seconds
        if not each:
            return min(self._largest, _FIRST_CHUNK)
        seconds = _IDLE_SECONDS
        if rows:
            alone = self._decoding.seconds
            seconds = min(self._max_stall, max(_SLOWDOWN * alone, _LEAST * self._max_stall)) - alone
        return min(self._largest, max(_SMALLEST_CHUNK, int(seconds / each)))

    def observe(self, seconds: float, *, rows: int, prompt_tokens: int) -> None:
        """Learn from a step that took so long."""
        if not prompt_tokens:
            self._decoding.add(rows, seconds)
            return
        if rows:
            self._decoding.mixed_steps += 1
            seconds -= self._decoding.seconds
        # A mixed step may happen to be faster than decoding alone was; that says nothing of its prompts.
        if seconds > 0:
            self._prompts.add(prompt_tokens, seconds)


class _Decoding:
    """Seconds that decoding takes by itself: the middle one of the last three such steps with about as many rows.

    Attributes:
        mixed_steps: How many steps have fed prompts beside it since the last one that didn't.
    """

    def __init__(self) -> None:
        self.mixed_steps = 0
        self._rows = 0  # that were measured, or are about to be
        self._latest: deque[float] = deque(maxlen=3)
        self._before = 0.0  # for the rows that there were before
        self._most = inf

    @property
    def seconds(self) -> float:
        """For a step; 0 before anything was measured."""
        return median(self._latest) if self._latest else self._before

    def is_due(self, rows: int) -> bool:
        """Whether what is known is old, or of another number of rows."""
        return self.mixed_steps >= (_MIXED_STEPS if self._is_alike(rows) else _OTHER_STEPS)

    def ask(self, rows: int) -> None:
        """A step is about to tell: there is no need for another one before its result is there."""
        self._turn_to(rows)
        self.mixed_steps = 0

    def add(self, rows: int, seconds: float) -> None:
        """Take a measurement."""
        self._turn_to(rows)
        self.mixed_steps = 0
        self._latest.append(seconds if self._latest else min(seconds, self._most))

    def _is_alike(self, rows: int) -> bool:
        return max(rows, self._rows) <= _ALIKE * min(rows, self._rows)

    def _turn_to(self, rows: int) -> None:
        """Go on with another number of rows, which takes no longer than in proportion."""
        if not self._is_alike(rows):
            self._before = self.seconds
            self._most = self._before * max(1.0, rows / self._rows) if self._before else inf
            self._latest.clear()
            self._rows = rows


class _Rate:
    """Seconds that one of something takes. Many at once tell more than few, which cost most by being there at all."""

    def __init__(self) -> None:
        self._count = 0.0
        self._total = 0.0

    @property
    def seconds(self) -> float:
        """For one; 0 before anything was measured."""
        return self._total / self._count if self._count else 0.0

    def add(self, count: int, seconds: float) -> None:
        """Take a measurement."""
        if self._count:
            seconds = min(seconds, _OUTLIER * count * self.seconds)
        self._count = _FORGET * self._count + count
        self._total = _FORGET * self._total + seconds
