"""What an engine needs of a loaded model: something that computes, and something that knows its text."""

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.contracts import EngineOptions
from actors.engine.answer_format import AnswerFormats, plain_formats
from actors.engine.prompt import TEXT_ALONE, ReadsPictures
from actors.engine.text import Tokenizer
from actors.models import ModelInfo
from scheduler.kv_cost import KvCost
from scheduler.step import Runner


@dataclass(frozen=True, slots=True)
class Backend:
    """A loaded model.

    Attributes:
        runner: Computes; belongs to the thread that made it.
        tokenizer: Text to token ids and back.
        vocabulary: How many token ids the model knows, from 0; another one would read beyond its embeddings.
        stop_token_ids: Tokens that end an answer.
        context_length: Tokens of prompt and answer together.
        kv_cost: What a sequence's KV takes.
        kv_budget: Bytes that this machine can spare for all of it.
        reuse_kv: Whether the KV of one request can serve others that begin alike.
        checkpoints: Whether it can do so at checkpoints only.
        max_decode_stall: Seconds that a step may take here while answers are being generated, unless told otherwise.
        device: `cpu`, `metal` or `cuda`, and what multiplies matrices there where that is a choice.
        warnings: What its user should know, a sentence each.
        pictures: Reads conversations with pictures, or refuses them.
        formats: How the model writes its answers.
        device_bytes: Bytes that it takes of a GPU's own memory, any thread may ask; None where it lives in the system's, on the CPU and on
            Apple's GPUs, and counts as this process'.
    """

    runner: Runner
    tokenizer: Tokenizer
    vocabulary: int
    stop_token_ids: frozenset[int]
    context_length: int
    device: str
    warnings: tuple[str, ...] = ()
    kv_cost: KvCost = field(default_factory=KvCost)
    kv_budget: int | None = None
    reuse_kv: bool = False
    checkpoints: bool = False
    max_decode_stall: float = 0.1
    pictures: ReadsPictures = TEXT_ALONE
    formats: AnswerFormats = plain_formats
    device_bytes: Callable[[], int] | None = None


LoadBackend = Callable[[ModelInfo, EngineOptions], Backend]
