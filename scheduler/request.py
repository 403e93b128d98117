"""A request as the scheduler sees it, and the sequence that it becomes: the one mutable thing that travels."""

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from scheduler.logit_changes import LogitChanges
from scheduler.prefix_cache import NOTHING, Hit
from scheduler.sampling import SamplingParams


class FinishReason(StrEnum):
    """Why a sequence ended, in OpenAI's words where it has them."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


class SequenceState(Enum):
    """Where a sequence stands."""

    WAITING = "waiting"
    PREFILLING = "prefilling"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks for, in tokens.

    Attributes:
        request_id: Unique among the requests that the scheduler holds.
        prompt: The prompt's token ids, at least one. A negative one stands for a part of something that isn't text: equal ones for
            equal parts, so that their KV can be shared as that of words is.
        max_tokens: The most tokens to generate, at least 1.
        stop_token_ids: Tokens that end the sequence; the ending token is counted but is not part of the text.
        sampling: How tokens are drawn.
        priority: The class it waits in; a lower value is handled earlier, and negative ones are fine.
        client: Whom its service is counted for, where clients share fairly: an API key, or who the caller says it is.
        min_tokens: Tokens to generate before one of `stop_token_ids` may be drawn, at most `max_tokens`.
        inputs: What the model gets in place of the prompt's tokens, where some are no text; the runner's alone to look into (see
            `scheduler.mlx.prompt_inputs.PromptInputs`).
    """

    request_id: str
    prompt: tuple[int, ...]
    max_tokens: int
    stop_token_ids: frozenset[int] = frozenset()
    sampling: SamplingParams = field(default_factory=SamplingParams)
    priority: int = 0
    client: str = ""
    min_tokens: int = 0
    inputs: object | None = None

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("a prompt has at least one token")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if not 0 <= self.min_tokens <= self.max_tokens:
            raise ValueError(f"min_tokens must be between 0 and max_tokens ({self.max_tokens}), not {self.min_tokens}")


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a sequence spent its seconds before its first token: waiting, and feeding its prompt."""

    queue: float
    prefill: float


@dataclass(slots=True, eq=False)
class Sequence:
    """A request on its way: its tokens so far, and how many of them the KV cache holds.

    Attributes:
        context: What has to be fed before the next token can be sampled: the prompt, and after a preemption what was
            generated too.
        num_computed: How many tokens of `context` have been through the model.
        output: The token ids generated so far and known, the last one not fed to the model unless `in_flight`.
        in_flight: Tokens that it is owed by plans which were given out and not committed yet. They are drawn in order, and the
            plan for the second one feeds the first, which nobody but the runner knows by then.
        arrived, admitted, first_token: Stamps of the scheduler's clock, seconds.
        reused: What its row begins with of the prefix cache, until the step that reads it is over.
        checkpoints: Ends of blocks in its context after each of which a checkpoint is taken.
        num_cached: How many of the prompt's tokens were in the prefix cache when it was first admitted.
        preemptions: How often it had to give its row back and wait again. `arrived` stays as it was.
        changes: What the request's parameters change in the logits of its next token, if anything.
        timing: There once it has a token.
    """

    request: Request
    arrived: float
    state: SequenceState = SequenceState.WAITING
    num_computed: int = 0
    output: list[int] = field(default_factory=list)
    in_flight: int = 0
    finish_reason: FinishReason | None = None
    admitted: float = 0.0
    first_token: float = 0.0
    reused: Hit = NOTHING
    checkpoints: tuple[int, ...] = ()
    num_cached: int = 0
    preemptions: int = 0
    context: tuple[int, ...] = field(init=False)
    changes: LogitChanges | None = field(init=False)
    timing: Timing = field(init=False)

    def __post_init__(self) -> None:
        asked = self.request
        self.context = asked.prompt
        self.changes = LogitChanges.of(asked.sampling, asked.prompt, asked.min_tokens, asked.stop_token_ids)

    @property
    def request_id(self) -> str:
        """The request's id, which names the sequence too."""
        return self.request.request_id

    @property
    def num_prompt(self) -> int:
        """How many tokens the prompt has."""
        return len(self.request.prompt)

    @property
    def num_tokens(self) -> int:
        """How many tokens prompt and output have together, those in flight included: what the KV holds after the next step."""
        return len(self.request.prompt) + len(self.output) + self.in_flight

    @property
    def position(self) -> int:
        """Where in the output the token belongs that the latest plan owes it."""
        return len(self.output) + self.in_flight - 1

    @property
    def wants_more(self) -> bool:
        """Whether it is short of `max_tokens`, those in flight counted."""
        return len(self.output) + self.in_flight < self.request.max_tokens

    @property
    def most_tokens(self) -> int:
        """How many there can be in the end."""
        return len(self.request.prompt) + self.request.max_tokens

    @property
    def computed(self) -> tuple[int, ...]:
        """The tokens whose KV its row holds."""
        if self.state is SequenceState.PREFILLING:
            return self.context[: self.num_computed]
        return (*self.request.prompt, *self.output[:-1])

    @property
    def next_stop(self) -> int:
        """Where the next chunk of its context has to end at the latest."""
        return next((place for place in self.checkpoints if place > self.num_computed), len(self.context))

    def admit(self, now: float, reused: Hit) -> None:
        """Give it a row, for the first time or again, that begins with some KV of the prefix cache."""
        self.state = SequenceState.PREFILLING
        self.reused = reused
        self.num_computed = reused.tokens
        if not self.preemptions:
            self.admitted = now
            self.num_cached = self.num_computed

    def fork(self, leader: "Sequence") -> None:
        """Give it a row, for the first time, that is a copy of another's of the same prompt once that one is fed."""
        self.state = SequenceState.PREFILLING
        self.num_computed = len(self.context)
        self.admitted = leader.admitted
        self.num_cached = leader.num_cached

    def preempt(self) -> None:
        """Take its row: all that it had is to be fed again, and what was in flight is to be drawn again."""
        self.state = SequenceState.WAITING
        self.preemptions += 1
        self.num_computed = 0
        self.in_flight = 0
        self.context = (*self.request.prompt, *self.output)

    def append(self, token: int, now: float) -> None:
        """Take the next token, sampled at `now`, and decide whether it is the last."""
        self.in_flight -= 1
        if not self.output:
            self.first_token = now
            self.timing = Timing(self.admitted - self.arrived, now - self.admitted)
        self.output.append(token)
        if self.changes is not None:
            self.changes.append(token)
        if token in self.request.stop_token_ids:
            self.finish_reason = FinishReason.STOP
        elif len(self.output) >= self.request.max_tokens:
            self.finish_reason = FinishReason.LENGTH
