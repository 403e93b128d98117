"""How many prompt tokens a step may take, learned from how long the steps before it took."""

_FORGET = 0.8  # of a measurement's weight is left with each one after it
_FIRST_CHUNK = 64  # tokens, before anything has been measured
_SMALLEST_CHUNK = 16  # tokens: prompts go on even where decoding alone takes longer than it may
_IDLE_SECONDS = 0.5  # a step without decoding: new requests and aborts are heard after it, or after two where plans look ahead
_SLOWDOWN = 2.5  # times as long as decoding alone may a step take that decodes and feeds prompts
_LEAST = 1 / 8  # of the seconds allowed are taken however fast decoding alone would be
_OUTLIER = 4.0  # times as long as expected: what is beyond says more of the machine than of the step
_ALIKE = 0.3  # of their mean: numbers of tokens that differ less don't tell what a chunk costs by itself
_FURTHER = 2  # times as many tokens as were fed lately: what more would take is not known well enough


class StepPacer:
    """Chooses a step's prompt tokens so that running streams wait no longer than they may.

    Streams are slowed down by a factor at the most, within the seconds that are allowed. A step is taken to last as long as its
    decoding, plus a time for having prompts at all, plus one for each of their tokens. The first is a running mean over steps
    without prompts; the others are a line fitted to what the steps with prompts took beyond it, the latest counting most.

    Args:
        max_stall: Seconds that a step with running sequences may last.
        largest: Prompt tokens that a step takes at the most.
    """

    def __init__(self, max_stall: float, largest: int) -> None:
        self._max_stall = max_stall
        self._largest = largest
        self._decoding = _Line()
        self._prompts = _Line()

    def budget(self, *, decoding: bool) -> int:
        """Prompt tokens for the next step."""
        if not self._prompts.known:
            return min(self._largest, _FIRST_CHUNK)
        fixed, each = self._prompts.fit()
        seconds = most = _IDLE_SECONDS
        if decoding:
            alone = self._decoding.at(0)
            most = self._max_stall - alone
            seconds = min(most, max(_SLOWDOWN * alone, _LEAST * self._max_stall) - alone)
        # A chunk that costs less than its having been there is worse for everybody than a larger one.
        seconds = min(most, max(seconds, 2 * fixed))
        tokens = max((seconds - fixed) / each, _SMALLEST_CHUNK)
        return min(self._largest, int(tokens), int(_FURTHER * self._prompts.reach))

    def observe(self, seconds: float, *, prompt_tokens: int, decoding: bool) -> None:
        """Learn from a step that took so long."""
        if not prompt_tokens:
            self._decoding.add(0, seconds)
            return
        prompt_seconds = seconds - self._decoding.at(0) if decoding else seconds
        # A mixed step may happen to be faster than decoding alone was; that says nothing of its prompts.
        if prompt_seconds > 0:
            self._prompts.add(prompt_tokens, prompt_seconds)


class _Line:
    """Seconds as a linear function of tokens: weighted least squares over what was measured.

    Attributes:
        reach: About the most tokens measured lately.
    """

    def __init__(self) -> None:
        self.reach = 0.0
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return self._weight > 0

    def add(self, tokens: int, seconds: float) -> None:
        """Take a measurement."""
        if self.known:
            seconds = min(seconds, _OUTLIER * self.at(tokens))
        self.reach = max(tokens, _FORGET * self.reach)
        values = (1.0, tokens, seconds, tokens * tokens, tokens * seconds)
        sums = (self._weight, self._x, self._y, self._xx, self._xy)
        self._weight, self._x, self._y, self._xx, self._xy = (
            _FORGET * total + value for total, value in zip(sums, values, strict=True)
        )

    def fit(self) -> tuple[float, float]:
        """Seconds by themselves, and for each token; neither is negative."""
        x, y = self._x / self._weight, self._y / self._weight
        if not x:
            return y, 0.0
        spread = self._xx / self._weight - x * x
        if spread > (_ALIKE * x) ** 2:
            each = (self._xy / self._weight - x * y) / spread
            if each > 0 and y - each * x > 0:
                return y - each * x, each
        return 0.0, y / x

    def at(self, tokens: int) -> float:
        """Seconds for so many tokens; 0 before anything was measured."""
        if not self.known:
            return 0.0
        fixed, each = self.fit()
        return fixed + each * tokens
