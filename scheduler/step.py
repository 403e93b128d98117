"""The values that travel within one step: what was decided, what was computed, what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from scheduler.prefix_cache import Keep
from scheduler.request import FinishReason, Sequence, Timing


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `start` … `stop - 1` of a sequence's context, to be fed to the model in this step.

    The step that feeds the context's last token also samples the sequence's next one.

    Attributes:
        forks: Only of a context's last chunk: other sequences with the same context, whose rows begin as copies of this
            one's after the chunk. Their next tokens are sampled from the same logits, by their own parameters.
    """

    sequence: Sequence
    start: int
    stop: int
    forks: tuple[Sequence, ...] = ()

    @property
    def is_first(self) -> bool:
        """Whether the row begins with this chunk, after what it has of `sequence.reused`."""
        return self.start == self.sequence.reused.tokens

    @property
    def is_last(self) -> bool:
        """Whether the context is complete after this chunk."""
        return self.stop == len(self.sequence.context)

    @property
    def sampled(self) -> tuple[Sequence, ...]:
        """The sequences whose next token the chunk's last position gives."""
        return (self.sequence, *self.forks) if self.is_last else ()


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What the runner shall compute.

    The runner works in the order of the fields.

    Attributes:
        keep: Of sequences that have a row, by id: what is to be kept of it.
        forget: Ids of blocks and checkpoints that are not wanted any more, each block before the one it went on from; some may be
            among `keep`.
        dropped: Ids of sequences that ended since the last plan; the runner forgets their rows. Some may have none yet.
        decode: Sequences that get their next token, in the batch's order.
        prefill: Chunks of contexts, in order of admission.
    """

    keep: tuple[tuple[str, Keep], ...] = ()
    forget: tuple[int, ...] = ()
    dropped: tuple[str, ...] = ()
    decode: tuple[Sequence, ...] = ()
    prefill: tuple[Chunk, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the chunks have together."""
        return sum(chunk.stop - chunk.start for chunk in self.prefill)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be computed."""
        return not (self.decode or self.prefill)


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """How likely the model held a token, and what it held most likely in its place.

    Attributes:
        logprob: Natural logarithm of the token's probability, before any sampling parameter changed it; at least -9999.
        top: The most likely tokens and their logprobs, falling; as many as were asked for.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class StepResult:
    """What the runner computed.

    Attributes:
        tokens: The sampled token of every sequence that got one, by request id.
        logprobs: Of those that asked for them.
        forward: Seconds spent on the model's forward, or, where the device goes on by itself, on handing it out.
        sample: Seconds spent on drawing the tokens and on waiting for them.
    """

    tokens: Mapping[str, int]
    logprobs: Mapping[str, TokenLogprobs] = field(default_factory=dict)
    forward: float = 0.0
    sample: float = 0.0

    def launch(self) -> None:
        """Nothing: it has been computed. See `Computing`."""

    def wait(self) -> "StepResult":
        """Itself."""
        return self


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One new token of one sequence.

    Attributes:
        timing: Where the sequence's seconds went up to its first token.
        decode: Seconds from its first token to this one.
        finish_reason: Set with the sequence's last token.
        logprobs: Where the request asked for them.
        cached_tokens: How many of the prompt's tokens did not have to be computed.
    """

    request_id: str
    token: int
    timing: Timing
    decode: float
    finish_reason: FinishReason | None = None
    logprobs: TokenLogprobs | None = None
    cached_tokens: int = 0


@dataclass(slots=True)
class StepTimes:
    """Seconds that one step spent, by phase, from one monotonic clock.

    Attributes:
        schedule: Deciding.
        forward: The model's forward, see `StepResult`.
        sample: Drawing tokens and waiting for them, see `StepResult`.
        emit: Taking the tokens in and making events of them.
    """

    schedule: float = 0.0
    forward: float = 0.0
    sample: float = 0.0
    emit: float = 0.0


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one step gives its caller."""

    events: tuple[TokenEvent, ...] = ()
    times: StepTimes = field(default_factory=StepTimes)


class Computing(Protocol):
    """A plan that is to be computed, or is being computed."""

    def launch(self) -> None:
        """Hand it to the device. Called once, before the next plan is given to the runner."""
        ...

    def wait(self) -> StepResult:
        """What it gave, once it is there. Called once."""
        ...


class Runner(Protocol):
    """Computes what a plan says. It never decides; it owns the model's tensors and each sequence's KV rows.

    Attributes:
        looks_ahead: Whether a plan may be given to it before the result of the one before has been waited for. Then it
            feeds sequences what it has drawn for them itself (see `Sequence.in_flight`).
        launch_blocks: Whether launching a plan takes about as long as computing it, as on MLX's CPU back end, which lets its caller
            be a few operations ahead of it and no more.
    """

    looks_ahead: bool
    launch_blocks: bool

    def run(self, plan: StepPlan) -> Computing:
        """Keep, forget, drop, decode and prefill as planned, as soon as it is launched.

        The result has a token for every sequence of `plan.decode` and for those of each chunk's `sampled`. Rows of sequences
        that were neither dropped nor planned stay as they are.
        """
        ...
