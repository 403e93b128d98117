"""What a model gets in place of a prompt's tokens: embeddings, rotary positions, and what is added further up."""

from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from typing import Any, Protocol, cast

import mlx.core as mx

from scheduler.request import Sequence


@dataclass(frozen=True, slots=True)
class Features:
    """What stands for some tokens in a row.

    Attributes:
        embeddings: (tokens, size); None where the model looks them up by itself.
        positions: int32 (3, tokens), each token's rotary positions; None where they are its place.
        deeper: (tokens, size) each, added to the hidden states after the first layers, one after the other.
    """

    embeddings: mx.array | None = None
    positions: mx.array | None = None
    deeper: tuple[mx.array, ...] = ()


class PromptInputs(Protocol):
    """A prompt that isn't only text. Used on the thread that steps the model, but for its making."""

    @property
    def delta(self) -> int:
        """How far the rotary position of a token after the prompt is from its place."""
        ...

    def features(self, start: int, stop: int) -> Features:
        """What stands for the prompt's tokens `start` … `stop - 1`, with embeddings."""
        ...


@dataclass(frozen=True, slots=True)
class Fed:
    """Tokens `start` … `stop - 1` of a sequence, of which the prompt is the first `prompt`.

    Attributes:
        inputs: The prompt's, where it isn't only text.
    """

    inputs: PromptInputs | None
    prompt: int
    start: int
    stop: int

    @property
    def known(self) -> int:
        """Up to where the prompt's features stand for them; `start` where they don't at all."""
        return self.start if self.inputs is None else max(self.start, min(self.stop, self.prompt))

    @property
    def shift(self) -> int:
        """Of the rotary positions of those after the prompt."""
        return 0 if self.inputs is None else self.inputs.delta


def fed_of(sequence: Sequence, start: int, stop: int) -> Fed:
    """Tokens of a sequence that are fed now."""
    inputs = sequence.request.inputs
    return Fed(None if inputs is None else cast("PromptInputs", inputs), sequence.num_prompt, start, stop)


def gather(embed: Any, tokens: mx.array, fed: Ordered[Fed]) -> Features | None:
    """What stands for all tokens of a forward; None where it is the tokens themselves, at their places.

    Args:
        embed: Token ids (tokens,) to embeddings (tokens, size).
        tokens: integers (tokens,), all that are fed, one after the other; any where the prompts' features stand for them.
        fed: Whose they are.
    """
    if all(each.inputs is None for each in fed):
        return None
    found = [each.inputs.features(each.start, each.known) if each.inputs and each.known > each.start else None for each in fed]
    positions = mx.concatenate([_positions(each, its) for each, its in zip(fed, found, strict=True)], axis=1)
    if all(its is None for its in found):
        return Features(positions=positions)
    words: mx.array = embed(tokens)
    levels = max(len(its.deeper) for its in found if its is not None)
    embeddings: list[mx.array] = []
    deeper: list[list[mx.array]] = [[] for _ in range(levels)]
    at = 0
    for each, its in zip(fed, found, strict=True):
        end = at + each.stop - each.start
        if its is not None:
            assert its.embeddings is not None
            embeddings.append(its.embeddings.astype(words.dtype))
            for level, parts in enumerate(deeper):
                own = its.deeper[level] if level < len(its.deeper) else mx.zeros_like(its.embeddings)
                parts.append(own.astype(words.dtype))
            at += each.known - each.start
        if end > at:
            embeddings.append(words[at:end])
            for parts in deeper:
                parts.append(mx.zeros_like(words[at:end]))
        at = end
    return Features(mx.concatenate(embeddings), positions, tuple(mx.concatenate(parts) for parts in deeper))


def _positions(fed: Fed, features: Features | None) -> mx.array:
    after = mx.arange(fed.known, fed.stop, dtype=mx.int32) + fed.shift
    if features is None:
        return mx.broadcast_to(after, (3, after.size))
    own = features.positions
    if own is None:
        own = mx.broadcast_to(mx.arange(fed.start, fed.known, dtype=mx.int32), (3, fed.known - fed.start))
    return mx.concatenate([own.astype(mx.int32), mx.broadcast_to(after, (3, after.size))], axis=1)
