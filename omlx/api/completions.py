"""`POST /v1/completions`: goes on from a text."""

import time
from itertools import accumulate

from fastapi import APIRouter, Request, Response

from omlx.api.body import documented, read_body
from omlx.api.openai import (
    Completion,
    CompletionChoice,
    CompletionChunkChoice,
    CompletionLogprobs,
    CompletionRequest,
    Head,
)
from omlx.api.streaming import Answering, Ended, Exchange, Logprobs, text_length
from omlx.api.translate import completion_job


class CompletionWording:
    """A text as completions have it."""

    chunk_object = "text_completion"

    def opening(self) -> None:
        """A completion begins with its text."""

    def piece(self, text: str, logprobs: Logprobs | None) -> CompletionChunkChoice:
        """More of the text."""
        return _choice(text, logprobs=logprobs)

    def ending(self, finish_reason: str) -> CompletionChunkChoice:
        """The end of the text."""
        return _choice("", finish_reason)

    def whole(self, head: Head, ended: Ended) -> Completion:
        """The text in one."""
        choice = CompletionChoice(text=ended.text, logprobs=_logprobs(ended.logprobs), finish_reason=ended.finish_reason)
        return Completion(**head, choices=[choice], usage=ended.usage)


def _choice(text: str, finish_reason: str | None = None, logprobs: Logprobs | None = None) -> CompletionChunkChoice:
    return {"index": 0, "text": text, "logprobs": _logprobs(logprobs), "finish_reason": finish_reason}


def _logprobs(logprobs: Logprobs | None) -> CompletionLogprobs | None:
    if logprobs is None:
        return None
    entries = logprobs.tokens
    lengths = [text_length(entry.token) for entry in entries]
    return {
        "tokens": [entry.token.text for entry in entries],
        "token_logprobs": [entry.token.logprob for entry in entries],
        "top_logprobs": [{token.text: token.logprob for token in (entry.token, *entry.top)} for entry in entries],
        "text_offset": [logprobs.offset + before for before in accumulate(lengths, initial=0)][: len(entries)],
    }


def completion_routes(answering: Answering) -> APIRouter:
    """The route, given who answers."""
    router = APIRouter(tags=["OpenAI"])
    wording = CompletionWording()

    @router.post("/v1/completions", **documented(CompletionRequest, Completion))
    async def create_completion(http: Request) -> Response:
        """Go on from a text, in one or as a stream of server-sent events."""
        received = time.monotonic()
        request = await read_body(http, CompletionRequest)
        return await answering.respond(Exchange(request, completion_job(request), wording, received), http)

    return router
