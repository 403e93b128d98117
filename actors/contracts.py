"""The values that cross processes, and the protocols of those who send and receive them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from actors.models import ModelInfo
from scheduler.sampling import SamplingParams
from scheduler.stats import SchedulerStats

MLX_BACKEND = "actors.engine.loader:load"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as it came, not decoded yet.

    Attributes:
        data: The file: PNG, JPEG, WebP, GIF or another format that Pillow reads.
        param: Where in the request it stands, for an error.
    """

    data: bytes
    param: str = "messages"


@dataclass(frozen=True, slots=True)
class Tools:
    """What an answer may call.

    Attributes:
        functions: The tools as OpenAI has them, each `{"type": "function", "function": {...}}` with `name` and `parameters`.
        must_call: The answer is begun for the model: as a call. Whether it becomes one is up to the model.
        one_call: The answer ends with its first call.
    """

    functions: tuple[Mapping[str, Any], ...]
    must_call: bool = False
    one_call: bool = False


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation, to be put into words by a chat template: the model's own unless another is given.

    Attributes:
        messages: As OpenAI has them, but for the arguments of calls, which are objects. Where there are pictures, a message's content
            is a list of parts, and `{"type": "image"}` stands for the next of `images`.
        variables: What the template is told besides the messages.
        images: The pictures of all messages, in order.
        tools: What the answer may call; None where there is nothing to call.
    """

    messages: tuple[Mapping[str, Any], ...]
    template: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Image, ...] = ()
    tools: Tools | None = None


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """A text to go on from, as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A prompt that is token ids already."""

    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One request to an engine.

    Attributes:
        request_id: Unique; deltas carry it.
        prompt: What to answer.
        sampling: How tokens are drawn. Each choice has a seed of its own, made of this one, and the first has this one.
        max_tokens: The most tokens to generate for each choice; None goes on to the end of the model's context.
        stop: Texts that end the answer and are not part of it; looked for in its text, not in its reasoning or its calls.
        stop_token_ids: Tokens that end the answer, besides the model's own.
        ignore_eos: The model's own don't end it.
        min_tokens: Tokens to generate before one that ends the answer may come; texts end it at any time.
        priority: A lower value is handled earlier.
        client: Whose request it is; clients of one priority share the engine fairly.
        timeout: Seconds after which it is ended, whatever it has said by then; None for no limit.
        n: How many answers to give, its choices; the prompt is computed once for those that find room at the same time.
        context_window: The most tokens of prompt and answer together, where that is less than the model's own.
        clean_layout: Whether an OCR model's marks of layout are left out of the answer.
    """

    request_id: str
    prompt: ChatPrompt | TextPrompt | TokenPrompt
    sampling: SamplingParams = field(default_factory=SamplingParams)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    priority: int = 0
    client: str = ""
    timeout: float | None = None
    n: int = 1
    context_window: int | None = None
    clean_layout: bool = False


@dataclass(frozen=True, slots=True)
class EmbedJob:
    """Texts to be turned into vectors.

    Attributes:
        inputs: What to embed, in order.
        dimensions: To how many of its first numbers each vector is cut, and normalised again; None leaves it whole.
        truncate: Whether a text that is too long is cut to what the model takes; else it is an error.
        param: The request's field, for an error.
    """

    request_id: str
    inputs: tuple[TextPrompt | TokenPrompt, ...]
    dimensions: int | None = None
    truncate: bool = False
    param: str = "input"


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings, as they travel.

    Attributes:
        data: float32, little-endian, vector after vector in the order of the inputs.
        dimensions: Numbers of each.
        prompt_tokens: Tokens of all inputs together, special ones included.
    """

    data: bytes
    dimensions: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class RerankJob:
    """Documents to be judged by how well they answer a query.

    Attributes:
        truncate: Whether a document that is too long is cut to what the model takes; else it is an error.
    """

    request_id: str
    query: str
    documents: tuple[str, ...]
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class Scores:
    """How relevant documents are, from 0 to 1, in the order of the documents.

    Attributes:
        prompt_tokens: Tokens of all pairs of query and document together.
    """

    scores: tuple[float, ...]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a finished request took. Of several choices, the seconds and `cached_tokens` are the first one's.

    Attributes:
        prompt_tokens: Tokens of the prompt, once.
        completion_tokens: Tokens generated for all choices, the ending ones included.
        queue_seconds: From the engine's taking the request to the first step that fed its prompt.
        prefill_seconds: From there to its first token.
        decode_seconds: From there to its last token.
        cached_tokens: Tokens of the prompt that did not have to be computed.
        reasoning_tokens: Of `completion_tokens`, those of the reasoning.
    """

    prompt_tokens: int
    completion_tokens: int
    queue_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class LikelyToken:
    """A token and how likely the model held it.

    Attributes:
        text: The token alone; where it ends within a character, that shows as U+FFFD.
        bytes: The token's own UTF-8 bytes, whole characters or not; None where they can't be told.
        logprob: Natural logarithm of its probability; -9999 stands for less.
    """

    text: str
    bytes: tuple[int, ...] | None
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer, and the tokens that the model held most likely in its place, most likely first."""

    token: LikelyToken
    top: tuple[LikelyToken, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that an answer calls, whole.

    Attributes:
        call_id: Unique in a conversation; nine letters and digits, or what the model itself called it.
        name: The function's, whether or not there is one.
        arguments: A JSON object, as text.
        number: Which of its choice's calls, from 0.
    """

    call_id: str
    name: str
    arguments: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """What one step adds to one choice of a request: in this order reasoning, text, calls.

    A step that brought them in another order has several deltas, of which one counts its tokens.

    Attributes:
        text: New text, whole characters only; may be empty.
        tokens: How many tokens the step brought this choice, whether or not they show in `text` yet.
        finish_reason: `stop`, `length` or `tool_calls` with the choice's last delta; `timeout` or `error` with the request's, for
            all choices.
        usage: With the request's last delta, unless that has an error.
        error: Why, when `finish_reason` is `timeout` or `error`.
        logprobs: Where the job asked for them, the step's tokens, whether or not they show in `text` yet; a token that ends
            the answer is no part of it, and not here either.
        index: Which choice, from 0.
        reasoning: New text of what the model says to itself before it answers.
        tool_calls: Calls that are complete now.
        stop_text: Which of the job's `stop` ended the choice, with its last delta.
    """

    request_id: str
    text: str = ""
    tokens: int = 0
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    index: int = 0
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    stop_text: str = ""

    @property
    def is_last(self) -> bool:
        """Whether it is the request's last."""
        return self.usage is not None or self.error is not None


@dataclass(frozen=True, slots=True)
class StepItem:
    """One item of an engine's stream: the deltas of every sequence in a step, and the engine's numbers after it."""

    deltas: tuple[Delta, ...]
    stats: SchedulerStats

    def encode(self) -> bytes:
        """The item as it travels: JSON, positional, empty fields left out at the end."""
        return orjson.dumps([[_row(delta) for delta in self.deltas], self.stats])

    @classmethod
    def decode(cls, data: bytes) -> "StepItem":
        """The item that `encode` made these bytes of."""
        rows, stats = orjson.loads(data)
        # Nearly all are plain text, which needs no unpacking.
        deltas = tuple([Delta(*row) if len(row) == _PLAIN else _delta(*row) for row in rows])
        return cls(deltas, SchedulerStats(**stats))


_PLAIN = 3  # values of a row that is of the first choice, has text alone and doesn't end anything


def _row(delta: Delta) -> list[Any]:
    row: list[Any] = [delta.request_id, delta.text, delta.tokens]
    if delta.finish_reason or delta.logprobs or delta.reasoning or delta.tool_calls:
        row += [delta.index, delta.reasoning]
    elif delta.index:
        row.append(delta.index)
    if delta.finish_reason or delta.logprobs or delta.tool_calls:
        row += [delta.finish_reason, delta.usage, delta.error]
        row.append([[_likely_row(each) for each in (entry.token, *entry.top)] for entry in delta.logprobs])
        row += [[[call.call_id, call.name, call.arguments, call.number] for call in delta.tool_calls], delta.stop_text]
    return row


def _likely_row(token: LikelyToken) -> list[Any]:
    return [token.text, token.bytes, token.logprob]


def _likely(text: str, data: list[int] | None, logprob: float) -> LikelyToken:
    return LikelyToken(text, None if data is None else tuple(data), logprob)


def _delta(
    request_id: str,
    text: str,
    tokens: int,
    index: int = 0,
    reasoning: str = "",
    finish_reason: str | None = None,
    usage: dict[str, Any] | None = None,
    error: str | None = None,
    logprobs: Sequence[Sequence[Any]] = (),
    tool_calls: Sequence[Sequence[Any]] = (),
    stop_text: str = "",
) -> Delta:
    likely = ([_likely(*each) for each in entry] for entry in logprobs)
    entries = tuple(TokenLogprob(token, tuple(top)) for token, *top in likely)
    calls = tuple(ToolCall(*call) for call in tool_calls)
    ended = Usage(**usage) if usage else None
    return Delta(request_id, text, tokens, finish_reason, ended, error, entries, index, reasoning, calls, stop_text)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine works.

    Attributes:
        max_concurrent_requests: The most requests in its batch; more wait. May be changed while it runs.
        max_queued_requests: The most that wait; more are refused. May be changed while it runs.
        max_decode_stall_ms: Milliseconds that a step may take while answers are being generated; None leaves it to the
            device: 100 on a GPU, 600 on the CPU.
        kv_cache_bytes: What the KV of all requests may take, that kept for requests to come included. None leaves it to the
            machine: half of its memory less the model's weights, and a twentieth at the least.
        trust_remote_code: Whether Python files of the model's folder may be run; where there are some, loading fails without it.
    """

    max_concurrent_requests: int = 8
    max_queued_requests: int = 256
    max_decode_stall_ms: int | None = None
    kv_cache_bytes: int | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What an engine is started with.

    Attributes:
        engine_id: Unique over every engine that ever ran: a model's second engine has another id than its first.
        model: What it serves.
        backend: `module:function` of what loads the model, an `actors.engine.kinds.LoadAny`; imported in the
            engine's process alone.
        memory_bytes: What it is expected to take, KV included.
        node: Where in a cluster it is to run, an id that `EngineHost.nodes` tells; empty where there is no choice.
    """

    engine_id: str
    model: ModelInfo
    options: EngineOptions = field(default_factory=EngineOptions)
    backend: str = MLX_BACKEND
    memory_bytes: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class EngineUsage:
    """What an engine is doing.

    Attributes:
        in_flight: Jobs that have not ended, those still being taken in included.
        idle_seconds: For how long there has been none, since the last one ended or since the load; 0 before that, and while there
            is one.
        memory_bytes: What its process takes of the memory that models live in: resident memory (on macOS its footprint, where Metal's
            buffers count), or what MLX holds of a GPU's own.
        is_retired: Whether it was told to take no more jobs.
        ready_seconds: For how long its model has been loaded; 0 before.
    """

    in_flight: int
    idle_seconds: float
    memory_bytes: int
    is_retired: bool = False
    ready_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself once its model is loaded.

    Attributes:
        pid: Its process.
        device: `cpu`, `metal` or `cuda`, and what multiplies matrices there where that is a choice.
        context_length: Tokens of prompt and answer together.
        load_seconds: What loading took.
        warnings: What its user should know, a sentence each.
    """

    engine_id: str
    model_id: str
    pid: int
    device: str
    context_length: int
    load_seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """Which engine serves a model."""

    model_id: str
    engine_id: str


class EngineClient(Protocol):
    """One engine, from another process."""

    async def load(self) -> EngineInfo:
        """Load the model if it isn't yet. Raises `ModelLoadError`, or `EngineError` when the process is gone."""
        ...

    async def submit(self, consumer: str, job: Job) -> int:
        """Queue a job, its deltas to go to a consumer's stream; the number of its prompt's tokens.

        Raises `InvalidJobError`, `QueueFullError`, or `EngineError` when the process is gone.
        """
        ...

    async def count(self, job: Job) -> int:
        """How many tokens a job's prompt has; nothing is answered. Raises as `submit` does."""
        ...

    async def abort(self, request_ids: Sequence[str]) -> None:
        """End requests; their rows are out of the batch at the next step. Ids of requests that have ended are ignored.

        Calls may overtake each other, so one whose `submit` has been called and not answered yet is ended whichever comes first;
        that call raises `InvalidJobError` unless the engine had taken the job by then.
        """
        ...

    async def embed(self, job: EmbedJob) -> Vectors:
        """Embed texts; only of an embedding model.

        Called off when whoever waits is cancelled. Raises `InvalidJobError`, `QueueFullError`, or `EngineError` when the process is gone.
        """
        ...

    async def rerank(self, job: RerankJob) -> Scores:
        """Judge documents; only of a reranker. Raises as `embed` does."""
        ...

    def stream(self, consumer: str) -> AsyncIterator[bytes]:
        """The one stream of a consumer: an item without deltas at once, then an encoded `StepItem` for each step.

        Ends when the engine stops, and raises `EngineError` when its process dies. Opening it again ends the earlier
        one. When it is closed, the consumer's requests are aborted.
        """
        ...

    async def closed(self) -> None:
        """Return when the engine's process has ended, however it ended."""
        ...

    async def usage(self) -> EngineUsage:
        """What it is doing, loaded or not. Raises `EngineError` when the process is gone."""
        ...

    async def retire(self, *, only_if_idle: bool = False) -> bool:
        """Take no more jobs: `submit` raises `EngineError` from now on, and those that were taken go on.

        With `only_if_idle`, nothing changes unless no job is in flight and the last words of those that were are on their way.
        Returns whether it takes no more.
        """
        ...

    async def idle(self) -> None:
        """Return when no job is in flight, and the last words of those that were are on their way or nobody comes for them.

        Raises `EngineError` when the process is gone.
        """
        ...

    async def configure(self, options: EngineOptions) -> None:
        """Work with other options from the next step on, those that may be changed while it runs; the others stay as they are.

        Requests in a batch that shrinks finish in it. `EngineHost.running` tells the options that hold. Raises
        `InvalidSettingError`, or `EngineError` when the process is gone.
        """
        ...


class EngineHost(Protocol):
    """Starts, finds and kills engine processes."""

    async def start(self, spec: EngineSpec) -> EngineClient:
        """Start a process for a spec; it loads nothing until asked.

        On a node of a cluster, it waits until the node shows that it has the spec's memory, and ends when the node is gone.
        """
        ...

    async def running(self) -> Sequence[tuple[EngineSpec, EngineClient]]:
        """Every engine process that is alive, whoever started it."""
        ...

    async def kill(self, engine_id: str) -> None:
        """End a process, whatever it is doing. Unknown ids are ignored."""
        ...

    async def nodes(self) -> Mapping[str, int] | None:
        """Bytes of memory that all engines on a node may take together, by the node's id.

        A node that has just come or gone may take a moment to show. None where there are no nodes to choose from: engines run
        on this machine, whatever they take.
        """
        ...

    async def connect(self, engine_id: str) -> EngineClient:
        """A client for an engine that is alive. Raises `EngineError` otherwise."""
        ...
