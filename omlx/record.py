"""What became of one HTTP request: filled in while it is answered, and told to those who count, log and trace once it is over."""

from dataclasses import dataclass
from typing import Protocol

from starlette.types import Scope

from actors.contracts import Usage

_KEY = "omlx.record"


@dataclass(slots=True)
class RequestRecord:
    """One request. Times without a unit are seconds of this process' monotonic clock.

    Attributes:
        request_id: What the answer carries in `x-request-id`.
        received: When its headers were there.
        received_at: The same, in seconds since 1970.
        traceparent: The W3C trace context that it came with; empty without one.
        key_id: The id of the API key that it came with; empty without one that counts.
        key_name: What people call that.
        endpoint: The route's path, or `unmatched`.
        status: The answer's HTTP status; 499 when the client left before there was one, 0 when the server ended.
        ended: When the answer, or what was sent of it, was out.
        error: The code of the error that it ended with; empty without one.
        model_id: Who answered, or would have; empty where no model was asked, or one that isn't there.
        for_model: Whether it asked something of a model.
        is_generation: Whether that was text, not vectors or scores.
        stream: Whether as a stream.
        answer_id: The answer's own id, `chatcmpl-…`, `cmpl-…`, `msg_…` or `rerank-…`; vectors have none.
        prompt_tokens: Tokens of the prompt, once the engine has taken it; of all that was embedded or reranked, once it is.
        completion_tokens: Tokens generated so far, for all choices.
        first_token: When the first one came.
        last_token: When the last one came.
        finish_reason: Why it ended: `stop`, `length` or `tool_calls` (of the choice that ended last), `abort` when the client left,
            `error` when it broke off; empty where it was refused. Vectors and scores end with `stop`, as they do at vLLM.
        usage: What the engine says of a generation that came to its end.
    """

    request_id: str
    method: str
    received: float
    received_at: float
    traceparent: str = ""
    key_id: str = ""
    key_name: str = ""
    endpoint: str = "unmatched"
    status: int = 0
    ended: float = 0.0
    error: str = ""
    model_id: str = ""
    for_model: bool = False
    is_generation: bool = False
    stream: bool = False
    answer_id: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token: float | None = None
    last_token: float | None = None
    finish_reason: str = ""
    usage: Usage | None = None

    @property
    def seconds(self) -> float:
        """From its headers to the end of its answer."""
        return self.ended - self.received

    @property
    def seconds_to_first_token(self) -> float | None:
        """From its headers to its first token, loading the model included; None without a token."""
        return None if self.first_token is None else self.first_token - self.received

    @property
    def seconds_to_last_token(self) -> float | None:
        """From its headers to its last token; None without a token."""
        return None if self.last_token is None else self.last_token - self.received

    @property
    def seconds_per_output_token(self) -> float | None:
        """From one token to the next, on average: first to last token by the tokens after the first; None with fewer than two."""
        if self.first_token is None or self.last_token is None or self.completion_tokens < 2:
            return None
        return (self.last_token - self.first_token) / (self.completion_tokens - 1)


class RequestObserver(Protocol):
    """Who is told of every request. Called on the event loop, so it must be quick, and must not raise."""

    def began(self, record: RequestRecord) -> None:
        """A request's headers are there."""
        ...

    def ended(self, record: RequestRecord) -> None:
        """It is over, however."""
        ...


def attach(record: RequestRecord, scope: Scope) -> Scope:
    """The scope with the record of its request."""
    return {**scope, _KEY: record}


def record_of(scope: Scope) -> RequestRecord:
    """The record of a scope's request."""
    record = scope[_KEY]
    assert isinstance(record, RequestRecord)
    return record


def model_request_of(scope: Scope) -> RequestRecord:
    """The record of a request that asks something of a model."""
    record = record_of(scope)
    record.for_model = True
    return record


def generation_of(scope: Scope) -> RequestRecord:
    """The record of a request that asks for text."""
    record = model_request_of(scope)
    record.is_generation = True
    return record
