"""A stream as OpenAI words it: chunks, each with a piece of one choice."""

from abc import ABC, abstractmethod

from actors.contracts import Delta
from actors.contracts import Usage as JobUsage
from omlx.api import sse
from omlx.api.errors import Reply
from omlx.api.exchange import Exchange, Logprobs, head_of, text_length, usage_of
from omlx.api.openai import ChatChunkChoice, Chunk, CompletionChunkChoice

Choice = ChatChunkChoice | CompletionChunkChoice


class ChunkedWording(ABC):
    """How an endpoint of OpenAI's words its streams. See `omlx.api.exchange.Wording`."""

    chunk_object: str  # what a chunk calls itself
    sign_of_life = sse.LOADING

    @abstractmethod
    def opening(self, index: int) -> Choice | None:
        """What a choice begins with, if anything."""

    @abstractmethod
    def piece(self, delta: Delta, logprobs: Logprobs | None) -> Choice:
        """What a delta adds to a choice, and the logprobs of the tokens that came."""

    @abstractmethod
    def ending(self, index: int, finish_reason: str) -> Choice:
        """The end of a choice."""

    def writer(self, exchange: Exchange) -> "ChunkWriter":
        """What words a stream."""
        return ChunkWriter(exchange, self)

    def failure(self, reply: Reply) -> bytes:
        """The event that a stream breaks off with."""
        return sse.event(reply.body().model_dump())


class ChunkWriter:
    """Words one stream's chunks; the choices' come as their tokens do. See `omlx.api.exchange.Writer`."""

    def __init__(self, exchange: Exchange, wording: "ChunkedWording") -> None:
        self._wording = wording
        self._head = head_of(exchange)
        self._include_usage = exchange.asked.request.stream_options.include_usage
        self._offsets: dict[int, int] = {}  # characters of the tokens so far, of each choice that has begun

    def write(self, delta: Delta) -> bytes:
        """What a delta adds, before a choice's first its opening, and after the last one all that ends a stream."""
        events = self._begin(delta.index)
        if delta.text or delta.logprobs or delta.reasoning or delta.tool_calls:
            events += self._event(self._wording.piece(delta, self._logprobs(delta)))
        if delta.finish_reason is not None:
            events += self._event(self._wording.ending(delta.index, delta.finish_reason))
        return events + self._end(delta.usage) if delta.is_last else events

    def _begin(self, index: int) -> bytes:
        """What comes before a choice's first text; nothing once it has come."""
        if index in self._offsets:
            return b""
        self._offsets[index] = 0
        opening = self._wording.opening(index)
        return self._event(opening) if opening else b""

    def _end(self, usage: JobUsage | None) -> bytes:
        events = b""
        if self._include_usage:
            assert usage is not None
            chunk = self._chunk([])
            chunk["usage"] = usage_of(usage).model_dump()
            events += sse.event(chunk)
        return events + sse.DONE

    def _logprobs(self, delta: Delta) -> Logprobs | None:
        if not delta.logprobs:
            return None
        logprobs = Logprobs(delta.logprobs, self._offsets[delta.index])
        self._offsets[delta.index] += sum(text_length(entry.token) for entry in delta.logprobs)
        return logprobs

    def _event(self, choice: Choice) -> bytes:
        chunk = self._chunk([choice])
        if self._include_usage:
            chunk["usage"] = None
        return sse.event(chunk)

    def _chunk(self, choices: list[Choice]) -> Chunk:
        head = self._head
        return {
            "id": head["id"],
            "object": self._wording.chunk_object,
            "created": head["created"],
            "model": head["model"],
            "system_fingerprint": head["system_fingerprint"],
            "choices": choices,
        }
