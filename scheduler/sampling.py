"""What one request asks of the sampler; how the numbers are used stands in `scheduler.mlx.sampler`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MAX_TOP_LOGPROBS = 20
_MASK = (1 << 64) - 1
_DRAW_BITS = 24  # a float32 holds this many bits of a fraction exactly
_COLDEST = 1e-5  # below this temperature, float32 logits divided by it say nothing but which is the largest


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is drawn from the model's distribution.

    They apply in this order: `logit_bias`, the penalties, then (unless greedy) `temperature`, `top_k`, `top_p`, `min_p`.

    Attributes:
        temperature: Divides the logits; 0 takes the most likely token (greedy).
        top_k: Draws from this many of the most likely tokens; 0 takes all.
        top_p: Draws from the smallest set of tokens whose probabilities sum to at least this; 1 takes all. Of what
            `top_k` left, with its probabilities summing to 1.
        min_p: Draws from tokens at least this fraction as likely as the most likely one; 0 takes all.
        repetition_penalty: Divides the positive logits, and multiplies the negative ones, of every token of the prompt and
            the output (Keskar et al., CTRL, 2019); 1 changes nothing, above 1 discourages.
        presence_penalty: Taken from the logit of every token of the output, once.
        frequency_penalty: Taken from the logit of every token of the output, as often as it occurs there.
        logit_bias: Added to the logits of these token ids.
        logprobs: How many of the most likely tokens to report besides the drawn one; None reports nothing. They are of the
            model's own distribution, before any parameter changed it.
        seed: The request's own source of randomness, 0 … 2**64 - 1. The same seed gives the same tokens whatever
            else is in the batch.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise ValueError(f"temperature must be between 0 and 100, not {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 1, or 0 for all tokens, not {self.top_k}")
        if not 0.0 <= self.min_p <= 1.0:
            raise ValueError(f"min_p must be between 0 and 1, not {self.min_p}")
        if not 0.0 < self.repetition_penalty <= 100.0:
            raise ValueError(f"repetition_penalty must be above 0 and at most 100, not {self.repetition_penalty}")
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2.0 <= getattr(self, name) <= 2.0:
                raise ValueError(f"{name} must be between -2 and 2, not {getattr(self, name)}")
        for token, bias in self.logit_bias.items():
            if token < 0 or not math.isfinite(bias):
                raise ValueError(f"logit_bias must add a finite number to a token id, not {bias} to {token}")
        if self.logprobs is not None and not 0 <= self.logprobs <= MAX_TOP_LOGPROBS:
            raise ValueError(f"logprobs must be between 0 and {MAX_TOP_LOGPROBS}, not {self.logprobs}")

    @property
    def greedy(self) -> bool:
        """Whether the draw is the most likely token, with no randomness."""
        return self.temperature < _COLDEST

    def for_choice(self, index: int) -> "SamplingParams":
        """The same for one of several answers to a prompt, each with a seed of its own: the first has this one."""
        return replace(self, seed=_mix(_mix(self.seed & _MASK) ^ index)) if index else self

    @property
    def restricted(self) -> bool:
        """Whether some tokens are cut off before the draw."""
        return self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0

    @property
    def penalised(self) -> bool:
        """Whether the draw depends on the tokens before it by more than the model."""
        return self.repetition_penalty != 1.0 or self.presence_penalty != 0.0 or self.frequency_penalty != 0.0


def uniform_draw(seed: int, position: int) -> float:
    """One uniform number in [0, 1) for a request's token at `position`, a multiple of 2**-24.

    A pure function of both arguments, so that a row's draw doesn't depend on its neighbours, on the step or on what
    happened before. The mixing is SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), applied to the seed and
    then to the position's counter.
    """
    return (_mix((_mix(seed & _MASK) + position * 0x9E3779B97F4A7C15) & _MASK) >> (64 - _DRAW_BITS)) / (1 << _DRAW_BITS)


def _mix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
