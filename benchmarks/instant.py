"""A backend that computes nothing: its runner has every token at once, or at a pace, and the rest is what is around a model."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from actors.contracts import EngineOptions
from actors.engine.backend import Backend
from actors.models import ModelInfo
from scheduler.step import StepPlan, StepResult

VOCABULARY = 256
CONTEXT = 1 << 30


class InstantRunner:
    """Gives every row its next token, out of a fixed range of them.

    Args:
        first, tokens: The range.
        pace: The least seconds from one step to the next.
    """

    looks_ahead = False
    launch_blocks = False

    def __init__(self, first: int, tokens: int, pace: float) -> None:
        self._first = first
        self._tokens = tokens
        self._pace = pace
        self._next = 0.0

    def run(self, plan: StepPlan) -> StepResult:
        """See `scheduler.step.Runner`."""
        now = time.monotonic()
        if self._pace and now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + self._pace
        first, tokens = self._first, self._tokens
        sampled = {sequence.request_id: first + len(sequence.output) % tokens for sequence in plan.decode}
        for chunk in plan.prefill:
            sampled |= {sequence.request_id: first for sequence in chunk.sampled}
        return StepResult(sampled)


class WordTokenizer:
    """A token is a word; decoding costs next to nothing."""

    chat_template = None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:  # noqa: ARG002, the protocol's
        return [len(word) for word in text.split()]

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:  # noqa: ARG002, the protocol's
        return " word" * len(token_ids)

    def convert_ids_to_tokens(self, ids: int) -> str | None:  # noqa: ARG002, the protocol's
        return " word"

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, Any]], *, tokenize: bool, add_generation_prompt: bool, **variables: Any
    ) -> str:
        """There is none to apply."""
        raise NotImplementedError


def load_backend(model: ModelInfo, _options: EngineOptions) -> Backend:
    """The runner, with the tokenizer of the model's folder if that has one and with a trivial one otherwise.

    The model's id tells the pace: `instant`, or a number of microseconds a step.
    """
    pace = int(model.model_id) / 1e6 if model.model_id.isdecimal() else 0.0
    if (model.path / "tokenizer.json").exists():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model.path)
        return Backend(InstantRunner(1000, 4096, pace), tokenizer, len(tokenizer), frozenset(), CONTEXT, "none")
    return Backend(InstantRunner(1, VOCABULARY - 1, pace), WordTokenizer(), VOCABULARY, frozenset(), CONTEXT, "none")


INSTANT_BACKEND = f"{__name__}:{load_backend.__name__}"
