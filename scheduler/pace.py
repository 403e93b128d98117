"""How many prompt tokens a step may take, learned from how long the steps before it took."""

_WEIGHT = 0.3  # of the newest measurement in a running mean
_FIRST_CHUNK = 64  # tokens, before anything has been measured
_SMALLEST_CHUNK = 16  # tokens: prompts go on even where decoding alone takes longer than it may
_IDLE_SECONDS = 0.5  # a step without decoding: new requests and aborts are heard after it, or after two where plans look ahead


class StepPacer:
    """Chooses a step's prompt tokens so that running streams wait no longer than they may.

    A step is taken to last as long as its decoding plus a time for each prompt token. Both are running means of what was
    measured: steps without prompts tell the first, what the others took beyond it tells the second.

    Args:
        max_stall: Seconds that a step with running sequences may last.
        largest: Tokens that a step takes at the most.
    """

    def __init__(self, max_stall: float, largest: int) -> None:
        self._max_stall = max_stall
        self._largest = largest
        self._decode_seconds = 0.0
        self._token_seconds = 0.0

    def budget(self, *, decoding: bool) -> int:
        """Prompt tokens for the next step."""
        if not self._token_seconds:
            return min(self._largest, _FIRST_CHUNK)
        seconds = self._max_stall - self._decode_seconds if decoding else _IDLE_SECONDS
        return min(self._largest, max(_SMALLEST_CHUNK, int(seconds / self._token_seconds)))

    def observe(self, seconds: float, *, prompt_tokens: int, decoding: bool) -> None:
        """Learn from a step that took so long."""
        if not prompt_tokens:
            self._decode_seconds = _mean(self._decode_seconds, seconds)
            return
        prompt_seconds = seconds - self._decode_seconds if decoding else seconds
        # A mixed step may happen to be faster than decoding alone was; that says nothing of its prompts.
        if prompt_seconds > 0:
            self._token_seconds = _mean(self._token_seconds, prompt_seconds / prompt_tokens)


def _mean(before: float, now: float) -> float:
    return before + _WEIGHT * (now - before) if before else now
