"""What one sequence's parameters change in its logits, token by token, kept up as its output grows."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

from scheduler.sampling import SamplingParams


class LogitChanges:
    """A sparse change of one row of logits: entry i makes of the logit x of `tokens[i]`

        y = x + bias[i];  (y / factor[i] if y > 0 else y * factor[i]) - loss[i]

    A step costs one entry's update, whatever the length of the sequence; the columns are flat arrays, so that giving
    them to a device is a copy of memory.

    Attributes:
        tokens: int32 token ids, each once.
        bias, factor, loss: float32, one a token.
    """

    def __init__(self, params: SamplingParams, prompt: Sequence[int], min_tokens: int, stop_token_ids: Iterable[int]) -> None:
        self.tokens = array("i")
        self.bias = array("f")
        self.factor = array("f")
        self.loss = array("f")
        self._params = params
        self._slots: dict[int, int] = {}
        self._counts: Counter[int] = Counter()
        self._min_tokens = min_tokens
        self._masked = tuple(stop_token_ids) if min_tokens else ()
        if params.repetition_penalty != 1.0:
            for token in {token for token in prompt if token >= 0}:
                self.factor[self._slot(token)] = params.repetition_penalty
        for token, bias in params.logit_bias.items():
            self.bias[self._slot(token)] = bias
        for token in self._masked:
            self.bias[self._slot(token)] = -float("inf")

    @classmethod
    def of(
        cls, params: SamplingParams, prompt: Sequence[int], min_tokens: int, stop_token_ids: Iterable[int]
    ) -> "LogitChanges | None":
        """The changes that a request asks for, or None where it asks for none.

        Args:
            params: The request's.
            prompt: Its prompt, whose tokens the repetition penalty counts; those below 0 are no words.
            min_tokens: `stop_token_ids` are made impossible until the output has this many tokens.
            stop_token_ids: Tokens that would end it.
        """
        asked = params.penalised or params.logit_bias or min_tokens
        return cls(params, prompt, min_tokens, stop_token_ids) if asked else None

    @property
    def follow_output(self) -> bool:
        """Whether they depend on the tokens of the output."""
        return self._params.penalised

    def append(self, token: int) -> None:
        """Take note of the output's next token."""
        params = self._params
        if params.penalised:
            slot = self._slot(token)
            self._counts[token] += 1
            self.factor[slot] = params.repetition_penalty
            self.loss[slot] = params.presence_penalty + params.frequency_penalty * self._counts[token]

    def advance(self, position: int) -> None:
        """Get ready for the token at `position` of the output, which never falls: unmask what may end it from there on."""
        if not self._masked or position < self._min_tokens:
            return
        if not (self._params.penalised or self._params.logit_bias):
            for column in (self.tokens, self.bias, self.factor, self.loss):
                del column[:]
        else:
            for token in self._masked:
                self.bias[self._slots[token]] = self._params.logit_bias.get(token, 0.0)
        self._masked = ()

    def _slot(self, token: int) -> int:
        """Where a token's entry is; a new one changes nothing."""
        slot = self._slots.get(token)
        if slot is None:
            slot = self._slots[token] = len(self.tokens)
            self.tokens.append(token)
            self.bias.append(0.0)
            self.factor.append(1.0)
            self.loss.append(0.0)
        return slot
