"""How many prompt tokens a step may take, learned from how long the steps before it took."""

_FORGET = 0.8  # of a measurement's weight is left with each one after it
_FIRST_CHUNK = 64  # tokens, before anything has been measured
_SMALLEST_CHUNK = 16  # tokens: prompts go on even where decoding alone takes longer than it may
_IDLE_SECONDS = 0.5  # a step without decoding: new requests and aborts are heard after it, or after two where plans look ahead
_SLOWDOWN = 2.5  # times as long as decoding alone may a step take that decodes and feeds prompts
_LEAST = 1 / 8  # of the seconds allowed are taken however fast decoding alone would be
_OUTLIER = 4.0  # times as long as expected: what is beyond says more of the machine than of the step


class StepPacer:
    """Chooses a step's prompt tokens so that running streams wait no longer than they may.

    Streams are slowed down by a factor at the most, within the seconds that are allowed. A step is taken to last as long as its
    decoding plus a time for each prompt token. Both are learned, the latest steps counting most: steps without prompts tell
    the first, what the others took beyond it tells the second.

    Args:
        max_stall: Seconds that a step with running sequences may last.
        largest: Prompt tokens that a step takes at the most.
    """

    def __init__(self, max_stall: float, largest: int) -> None:
        self._max_stall = max_stall
        self._largest = largest
        self._decoding = _Rate()
        self._prompts = _Rate()

    def budget(self, *, decoding: bool) -> int:
        """Prompt tokens for the next step."""
        each = self._prompts.seconds
        if not each:
            return min(self._largest, _FIRST_CHUNK)
        seconds = _IDLE_SECONDS
        if decoding:
            alone = self._decoding.seconds
            seconds = min(self._max_stall, max(_SLOWDOWN * alone, _LEAST * self._max_stall)) - alone
        return min(self._largest, max(_SMALLEST_CHUNK, int(seconds / each)))

    def observe(self, seconds: float, *, prompt_tokens: int, decoding: bool) -> None:
        """Learn from a step that took so long."""
        if not prompt_tokens:
            self._decoding.add(1, seconds)
            return
        prompt_seconds = seconds - self._decoding.seconds if decoding else seconds
        # A mixed step may happen to be faster than decoding alone was; that says nothing of its prompts.
        if prompt_seconds > 0:
            self._prompts.add(prompt_tokens, prompt_seconds)


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
