"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's Messages API, which Claude Code speaks."""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from actors.contracts import Delta, Job, ToolCall
from actors.contracts import Usage as JobUsage
from actors.control import Served
from omlx.api import sse
from omlx.api.anthropic import AnthropicError, CountRequest, MessageAnswer, MessagesRequest, MessageUsage, StopReason, TokenCount
from omlx.api.anthropic_translate import Conversation, chat_of, conversation_of
from omlx.api.asked_model import asked_model
from omlx.api.body import documented, read_body
from omlx.api.disconnect import unless_gone
from omlx.api.errors import Reply
from omlx.api.exchange import Asked, Ended, Exchange
from omlx.api.images import ImageReader
from omlx.api.openai import ChatRequest
from omlx.api.ports import Services
from omlx.api.streaming import Answering
from omlx.api.translate import chat_job
from omlx.record import generation_of, record_of

_PREFIX = "msg_"
_SIGNATURE = "omlx"  # of thinking; some clients send none back that has none
_STOP_REASONS: dict[str, StopReason] = {"length": "max_tokens", "tool_calls": "tool_use"}


class MessagesWording:
    """A message as Anthropic has it. See `omlx.api.exchange.Wording`."""

    endpoint = "/v1/messages"
    sign_of_life = sse.named_event({"type": "ping"})

    def writer(self, exchange: Exchange) -> "MessageWriter":
        """What words a stream."""
        return MessageWriter(exchange)

    def failure(self, reply: Reply) -> bytes:
        """The event that a stream breaks off with."""
        return sse.named_event(reply.body().model_dump())

    def whole(self, exchange: Exchange, ended: Sequence[Ended], usage: JobUsage) -> MessageAnswer:
        """The message in one."""
        (answer,) = ended
        content: list[dict[str, Any]] = []
        if answer.reasoning:
            content.append({"type": "thinking", "thinking": answer.reasoning, "signature": _SIGNATURE})
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        content += [{**_call_block(call), "input": json.loads(call.arguments)} for call in answer.tool_calls]
        reason, sequence = _stopped(answer.finish_reason, answer.stop_text)
        return MessageAnswer(
            id=exchange.job.request_id,
            model=exchange.served.name,
            content=content,
            stop_reason=reason,
            stop_sequence=sequence,
            usage=_usage(usage),
        )


class MessageWriter:
    """Words one stream: blocks one after another, each opened, filled and closed. See `omlx.api.exchange.Writer`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._begun = False
        self._open = ""  # the type of the block that is open
        self._index = -1

    def write(self, delta: Delta) -> bytes:
        """What a delta adds; before the first the message's head, and after the last its end."""
        events = b"" if self._begun else self._begin()
        if delta.reasoning:
            events += self._add("thinking", {"thinking": "", "signature": ""}, "thinking_delta", delta.reasoning)
        if delta.text:
            events += self._add("text", {"text": ""}, "text_delta", delta.text)
        for call in delta.tool_calls:
            events += self._call(call)
        return events + self._end(delta, delta.usage) if delta.usage is not None else events

    def _begin(self) -> bytes:
        self._begun = True
        prompt_tokens = self._exchange.asked.record.prompt_tokens
        message = MessageAnswer(
            id=self._exchange.job.request_id,
            model=self._exchange.served.name,
            content=[],
            stop_reason=None,
            stop_sequence=None,
            usage=MessageUsage(input_tokens=prompt_tokens, cache_read_input_tokens=0, output_tokens=0),
        )
        return sse.named_event({"type": "message_start", "message": message.model_dump()})

    def _add(self, kind: str, empty: dict[str, str], delta_type: str, text: str) -> bytes:
        """More of a block, which is opened unless it is open."""
        opened = b"" if self._open == kind else self._close() + self._start(kind, {"type": kind, **empty})
        return opened + self._delta({"type": delta_type, kind: text})

    def _call(self, call: ToolCall) -> bytes:
        events = self._close() + self._start("tool_use", {**_call_block(call), "input": {}})
        return events + self._delta({"type": "input_json_delta", "partial_json": call.arguments}) + self._close()

    def _start(self, kind: str, block: dict[str, Any]) -> bytes:
        self._open = kind
        self._index += 1
        return sse.named_event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, str]) -> bytes:
        return sse.named_event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        signed = self._delta({"type": "signature_delta", "signature": _SIGNATURE}) if self._open == "thinking" else b""
        self._open = ""
        return signed + sse.named_event({"type": "content_block_stop", "index": self._index})

    def _end(self, delta: Delta, usage: JobUsage) -> bytes:
        reason, sequence = _stopped(delta.finish_reason or "", delta.stop_text)
        change = {"stop_reason": reason, "stop_sequence": sequence}
        events = self._close()
        events += sse.named_event({"type": "message_delta", "delta": change, "usage": _usage(usage).model_dump()})
        return events + sse.named_event({"type": "message_stop"})


def _call_block(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.call_id, "name": call.name}


def _stopped(finish_reason: str, stop_text: str) -> tuple[StopReason, str | None]:
    if finish_reason == "stop" and stop_text:
        return "stop_sequence", stop_text
    return _STOP_REASONS.get(finish_reason, "end_turn"), None


def _usage(usage: JobUsage) -> MessageUsage:
    return MessageUsage(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        cache_read_input_tokens=usage.cached_tokens,
        output_tokens=usage.completion_tokens,
    )


def message_routes(answering: Answering, services: Services, images: ImageReader) -> APIRouter:
    """The routes, given who answers, who counts and who reads the pictures."""
    router = APIRouter(tags=["Anthropic"])
    wording = MessagesWording()

    async def job_of(chat: ChatRequest, conversation: Conversation, served: Served) -> Job:
        return chat_job(chat, served, await images.read(conversation.pictures, served), _PREFIX)

    @router.post(wording.endpoint, **documented(MessagesRequest, MessageAnswer, AnthropicError))
    async def create_message(http: Request) -> Response:
        """Answer a conversation, in one or as a stream of server-sent events."""
        record = generation_of(http.scope)
        request = await read_body(http, MessagesRequest)
        conversation = conversation_of(request)
        chat = chat_of(request, conversation)

        async def job(served: Served) -> Job:
            return await job_of(chat, conversation, served)

        return await answering.respond(Asked(chat, job, wording, record), http)

    @router.post(f"{wording.endpoint}/count_tokens", **documented(CountRequest, TokenCount, AnthropicError))
    async def count_tokens(http: Request) -> Response:
        """How many tokens a conversation is for a model, which is loaded first if need be."""
        request = await read_body(http, CountRequest)
        conversation = conversation_of(request)
        chat = chat_of(request, conversation)

        async def count() -> int:
            served = await asked_model(services, request.model, f"{wording.endpoint}/count_tokens")
            record_of(http.scope).model_id = served.model_id
            return await services.count(served, await job_of(chat, conversation, served))

        tokens = await unless_gone(http.receive, count())
        return Response(TokenCount(input_tokens=tokens).model_dump_json(), media_type="application/json")

    return router
