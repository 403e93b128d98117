"""`POST /v1/chat/completions`: answers a conversation."""

import time

from fastapi import APIRouter, Request, Response

from actors.contracts import LikelyToken
from omlx.api.body import documented, read_body
from omlx.api.openai import (
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    ChatRequest,
    ContentLogprob,
    Head,
    TopLogprob,
)
from omlx.api.streaming import Answering, Ended, Exchange, Logprobs
from omlx.api.translate import chat_job


class ChatWording:
    """The model's turn as chat completions have it."""

    chunk_object = "chat.completion.chunk"

    def opening(self) -> ChatChunkChoice:
        """Whose turn it is."""
        return _choice({"role": "assistant", "content": ""})

    def piece(self, text: str, logprobs: Logprobs | None) -> ChatChunkChoice:
        """More of the turn."""
        return _choice({"content": text}, logprobs=logprobs)

    def ending(self, finish_reason: str) -> ChatChunkChoice:
        """The end of the turn."""
        return _choice({}, finish_reason)

    def whole(self, head: Head, ended: Ended) -> ChatCompletion:
        """The turn in one."""
        choice = ChatChoice(
            message=ChatMessage(content=ended.text), logprobs=_logprobs(ended.logprobs), finish_reason=ended.finish_reason
        )
        return ChatCompletion(**head, choices=[choice], usage=ended.usage)


def _choice(delta: ChatDelta, finish_reason: str | None = None, logprobs: Logprobs | None = None) -> ChatChunkChoice:
    return {"index": 0, "delta": delta, "logprobs": _logprobs(logprobs), "finish_reason": finish_reason}


def _logprobs(logprobs: Logprobs | None) -> ChatLogprobs | None:
    if logprobs is None:
        return None
    content: list[ContentLogprob] = [
        {**_likely(entry.token), "top_logprobs": [_likely(token) for token in entry.top]} for entry in logprobs.tokens
    ]
    return {"content": content, "refusal": None}


def _likely(token: LikelyToken) -> TopLogprob:
    return {"token": token.text, "bytes": token.bytes, "logprob": token.logprob}


def chat_routes(answering: Answering) -> APIRouter:
    """The route, given who answers."""
    router = APIRouter(tags=["OpenAI"])
    wording = ChatWording()

    @router.post("/v1/chat/completions", **documented(ChatRequest, ChatCompletion))
    async def create_chat_completion(http: Request) -> Response:
        """Answer a conversation, in one or as a stream of server-sent events."""
        received = time.monotonic()
        request = await read_body(http, ChatRequest)
        return await answering.respond(Exchange(request, chat_job(request), wording, received), http)

    return router
