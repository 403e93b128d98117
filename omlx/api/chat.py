"""`POST /v1/chat/completions`: answers a conversation."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from actors.contracts import Delta, Job, LikelyToken, ToolCall
from actors.contracts import Usage as JobUsage
from actors.control import Served
from omlx.api.body import documented, read_body
from omlx.api.chunks import ChunkedWording
from omlx.api.exchange import Asked, Ended, Exchange, Logprobs, head_of, usage_of
from omlx.api.images import ImageReader, pictures_of
from omlx.api.openai import (
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    ChatRequest,
    ContentLogprob,
    MessageToolCall,
    TopLogprob,
)
from omlx.api.streaming import Answering
from omlx.api.translate import chat_job
from omlx.record import generation_of


class ChatWording(ChunkedWording):
    """The model's turn as chat completions have it."""

    endpoint = "/v1/chat/completions"
    chunk_object = "chat.completion.chunk"

    def opening(self, index: int) -> ChatChunkChoice:
        """Whose turn it is."""
        return _choice(index, {"role": "assistant", "content": ""})

    def piece(self, delta: Delta, logprobs: Logprobs | None) -> ChatChunkChoice:
        """More of the turn."""
        added: ChatDelta = {}
        if delta.reasoning:
            added["reasoning_content"] = delta.reasoning
        if delta.text or not (delta.reasoning or delta.tool_calls):
            added["content"] = delta.text
        if delta.tool_calls:
            added["tool_calls"] = [{"index": call.number, **_call(call)} for call in delta.tool_calls]
        return _choice(delta.index, added, logprobs=logprobs)

    def ending(self, index: int, finish_reason: str) -> ChatChunkChoice:
        """The end of the turn."""
        return _choice(index, {}, finish_reason)

    def whole(self, exchange: Exchange, ended: Sequence[Ended], usage: JobUsage) -> ChatCompletion:
        """The turn in one, in as many ways as were asked for."""
        choices = [
            ChatChoice(
                index=index,
                message=_message(each),
                logprobs=_logprobs(each.logprobs),
                finish_reason=each.finish_reason,
            )
            for index, each in enumerate(ended)
        ]
        return ChatCompletion(**head_of(exchange), choices=choices, usage=usage_of(usage))


def _choice(index: int, delta: ChatDelta, finish_reason: str | None = None, logprobs: Logprobs | None = None) -> ChatChunkChoice:
    return {"index": index, "delta": delta, "logprobs": _logprobs(logprobs), "finish_reason": finish_reason}


def _message(ended: Ended) -> ChatMessage:
    return ChatMessage(
        content=None if ended.tool_calls and not ended.text else ended.text,
        reasoning_content=ended.reasoning,
        tool_calls=[_call(call) for call in ended.tool_calls],
    )


def _call(call: ToolCall) -> MessageToolCall:
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _logprobs(logprobs: Logprobs | None) -> ChatLogprobs | None:
    if logprobs is None:
        return None
    content: list[ContentLogprob] = [
        {**_likely(entry.token), "top_logprobs": [_likely(token) for token in entry.top]} for entry in logprobs.tokens
    ]
    return {"content": content, "refusal": None}


def _likely(token: LikelyToken) -> TopLogprob:
    return {"token": token.text, "bytes": token.bytes, "logprob": token.logprob}


def chat_routes(answering: Answering, images: ImageReader) -> APIRouter:
    """The route, given who answers and who reads the pictures."""
    router = APIRouter(tags=["OpenAI"])
    wording = ChatWording()

    @router.post(wording.endpoint, **documented(ChatRequest, ChatCompletion))
    async def create_chat_completion(http: Request) -> Response:
        """Answer a conversation, in one or as a stream of server-sent events."""
        record = generation_of(http.scope)
        request = await read_body(http, ChatRequest)

        async def job(served: Served) -> Job:
            return chat_job(request, served, await images.read(pictures_of(request.messages), served))

        return await answering.respond(Asked(request, job, wording, record), http)

    return router
