"""`POST /v1/completions`: goes on from a text."""

from collections.abc import Sequence
from itertools import accumulate

from fastapi import APIRouter, Request, Response

from actors.contracts import Delta, Job
from actors.contracts import Usage as JobUsage
from actors.control import Served
from omlx.api.body import documented, read_body
from omlx.api.chunks import ChunkedWording
from omlx.api.exchange import Asked, Ended, Exchange, Logprobs, head_of, text_length, usage_of
from omlx.api.openai import (
    Completion,
    CompletionChoice,
    CompletionChunkChoice,
    CompletionLogprobs,
    CompletionRequest,
)
from omlx.api.streaming import Answering
from omlx.api.translate import completion_job
from omlx.record import generation_of


class CompletionWording(ChunkedWording):
    """A text as completions have it."""

    endpoint = "/v1/completions"
    chunk_object = "text_completion"

    def opening(self, index: int) -> None:
        """A completion begins with its text."""

    def piece(self, delta: Delta, logprobs: Logprobs | None) -> CompletionChunkChoice:
        """More of the text."""
        return _choice(delta.index, delta.text, logprobs=logprobs)

    def ending(self, index: int, finish_reason: str) -> CompletionChunkChoice:
        """The end of the text."""
        return _choice(index, "", finish_reason)

    def whole(self, exchange: Exchange, ended: Sequence[Ended], usage: JobUsage) -> Completion:
        """The text in one, in as many ways as were asked for."""
        choices = [
            CompletionChoice(index=index, text=each.text, logprobs=_logprobs(each.logprobs), finish_reason=each.finish_reason)
            for index, each in enumerate(ended)
        ]
        return Completion(**head_of(exchange), choices=choices, usage=usage_of(usage))


def _choice(index: int, text: str, finish_reason: str | None = None, logprobs: Logprobs | None = None) -> CompletionChunkChoice:
    return {"index": index, "text": text, "logprobs": _logprobs(logprobs), "finish_reason": finish_reason}


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

    @router.post(wording.endpoint, **documented(CompletionRequest, Completion))
    async def create_completion(http: Request) -> Response:
        """Go on from a text, in one or as a stream of server-sent events."""
        record = generation_of(http.scope)
        request = await read_body(http, CompletionRequest)

        async def job(served: Served) -> Job:
            return completion_job(request, served)

        return await answering.respond(Asked(request, job, wording, record), http)

    return router
