"""One request, who answers it, and how an endpoint words the answer."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from pydantic import BaseModel

from actors.contracts import Delta, Job, LikelyToken, TokenLogprob, ToolCall
from actors.contracts import Usage as JobUsage
from actors.control import Served
from omlx import __version__
from omlx.api.errors import Reply
from omlx.api.openai import (
    CompletionTokensDetails,
    GenerationRequest,
    Head,
    PromptTokensDetails,
    Usage,
)
from omlx.record import RequestRecord

SYSTEM_FINGERPRINT = f"fp_{sha256(f'omlx {__version__}'.encode()).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True)
class Logprobs:
    """The logprobs of some tokens in a row.

    Attributes:
        offset: Where in the answer the first begins, in characters.
    """

    tokens: Sequence[TokenLogprob]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """One choice of an answer, whole.

    Attributes:
        logprobs: Where the client asked for them.
        stop_text: Which of the request's stop texts ended it, if one did.
    """

    text: str
    finish_reason: str
    logprobs: Logprobs | None
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    stop_text: str = ""


class Writer(Protocol):
    """Words one stream."""

    def write(self, delta: Delta) -> bytes:
        """The events that a delta makes, if any; before the first all that opens a stream, and after the last all that ends it."""
        ...


class Wording(Protocol):
    """How one endpoint words its answers."""

    @property
    def endpoint(self) -> str:
        """The endpoint's path."""
        ...

    @property
    def sign_of_life(self) -> bytes:
        """What a stream says while it has nothing to say."""
        ...

    def writer(self, exchange: "Exchange") -> Writer:
        """What words a stream."""
        ...

    def failure(self, reply: Reply) -> bytes:
        """The event that a stream breaks off with."""
        ...

    def whole(self, exchange: "Exchange", ended: Sequence[Ended], usage: JobUsage) -> BaseModel:
        """The answer in one, with all its choices in order."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it was read, and how its answer is to be worded.

    Attributes:
        job: Makes the job of it, once it is known what it is for.
        record: What becomes of it.
    """

    request: GenerationRequest
    job: Callable[[Served], Awaitable[Job]]
    wording: Wording
    record: RequestRecord


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and who answers it."""

    asked: Asked
    served: Served
    job: Job


def text_length(token: LikelyToken) -> int:
    """How many characters begin with a token: over many tokens this adds up, wherever they cut characters."""
    if token.bytes is None:
        return len(token.text)
    return sum(byte & 0xC0 != 0x80 for byte in token.bytes)  # all but UTF-8's continuation bytes


def head_of(exchange: Exchange) -> Head:
    """What its answer begins with, and every chunk of it."""
    return {
        "id": exchange.job.request_id,
        "created": int(time.time()),
        "model": exchange.served.name,
        "system_fingerprint": SYSTEM_FINGERPRINT,
    }


def usage_of(usage: JobUsage) -> Usage:
    """A finished request's usage as OpenAI's clients read it."""
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
    )
