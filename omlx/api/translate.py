"""Turns requests into jobs: OpenAI's words into the engine's, with the model's defaults for what they leave out, or OpenAI's."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from actors.contracts import ChatPrompt, Image, Job, TextPrompt, TokenPrompt, Tools
from actors.control import Served
from actors.errors import InvalidJobError
from actors.ocr import family_of
from actors.settings import SAMPLING
from omlx.api.openai import (
    CallMade,
    ChatRequest,
    CompletionRequest,
    ContentPart,
    Function,
    GenerationRequest,
    Message,
    NamedTool,
)
from scheduler.sampling import SamplingParams

_SEED_MASK = (1 << 64) - 1
_DRAWN_BY = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")  # as they stand


def chat_job(request: ChatRequest, served: Served, images: Sequence[Image] = (), prefix: str = "chatcmpl-") -> Job:
    """A conversation to answer, given the pictures of its messages, in order. Raises as `completion_job` does.

    An OCR model whose user sends pictures without a word gets the instruction of its family, and its sampling defaults.
    """
    messages = [_message(message) for message in request.messages]
    family = family_of(served.model)
    wordless = _wordless(messages) if family is not None else None
    if family is not None and wordless is not None:
        wordless["content"] = [*_images(wordless["content"]), {"type": "text", "text": family.instruction}]
        served = replace(served, defaults={**family.sampling, **served.defaults})
    variables = {**served.chat_template_kwargs, **request.chat_template_kwargs}
    prompt = ChatPrompt(tuple(messages), served.chat_template, variables, tuple(images), _tools(request))
    job = _job(prefix, request, served, prompt)
    return replace(job, clean_layout=served.clean_ocr if request.clean_ocr is None else request.clean_ocr)


def completion_job(request: CompletionRequest, served: Served) -> Job:
    """A prompt to go on from. Raises `InvalidJobError` where a default of the model is none that the engine can follow."""
    prompt = request.prompt
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return _job("cmpl-", request, served, TextPrompt(prompt))
    return _job("cmpl-", request, served, TokenPrompt(tuple(token for token in prompt if isinstance(token, int))))


def _job(prefix: str, request: GenerationRequest, served: Served, prompt: ChatPrompt | TextPrompt | TokenPrompt) -> Job:
    wanted = _wanted(request, served)
    return Job(
        # The client's own request id won't do: nothing keeps it from being sent twice.
        request_id=f"{prefix}{uuid4().hex}",
        prompt=prompt,
        sampling=_sampling(request, wanted),
        max_tokens=wanted["max_tokens"],
        stop=tuple(wanted["stop"]),
        stop_token_ids=tuple(request.stop_token_ids),
        ignore_eos=request.ignore_eos,
        min_tokens=request.min_tokens,
        priority=request.priority,
        client=request.user,
        timeout=request.timeout,
        n=request.n,
        context_window=served.context_window,
    )


def _wanted(request: GenerationRequest, served: Served) -> dict[str, Any]:
    """Each setting of `SAMPLING`: as the request has it, else as the model has it by default, else as OpenAI does."""
    asked = {setting.name: getattr(request, setting.name) for setting in SAMPLING} | {"max_tokens": request.token_limit}
    given = request.model_fields_set | ({"max_tokens"} if request.token_limit is not None else set())
    ruled = served.defaults.keys() - (given - served.forced)
    return asked | {name: served.defaults[name] for name in asked.keys() & ruled}


def _sampling(request: GenerationRequest, wanted: Mapping[str, Any]) -> SamplingParams:
    seed = secrets.randbits(64) if wanted["seed"] is None else wanted["seed"] & _SEED_MASK
    try:
        return SamplingParams(
            seed=seed,
            top_k=max(wanted["top_k"], 0),
            logit_bias=request.logit_bias,
            logprobs=request.wanted_logprobs,
            **{name: wanted[name] for name in _DRAWN_BY},
        )
    except ValueError as error:  # not the request's values: these have been checked
        raise InvalidJobError(f"The model's default can't be followed: {error}.") from error


def _message(message: Message) -> dict[str, Any]:
    """A message as chat templates know it: templates have no developer, and content without pictures is one text."""
    content: str | list[dict[str, str]]
    if message.content is None or isinstance(message.content, str):
        content = message.content or ""
    elif any(part.is_image for part in message.content):
        content = [_part(part) for part in message.content]
    else:
        content = "\n".join(part.text or "" for part in message.content)
    role = "system" if message.role == "developer" else message.role
    calls = {"tool_calls": [_call(call) for call in message.tool_calls]} if message.tool_calls else {}
    return {**(message.model_extra or {}), "role": role, "content": content, **calls}


def _call(call: CallMade) -> dict[str, Any]:
    """A call with its arguments as an object, which most templates ask for; as they are where they are none."""
    made = call.model_dump(exclude_unset=True)
    arguments = call.function.arguments
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments or "{}")
        except ValueError:
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else arguments
    return {**made, "type": "function", "function": {**made["function"], "arguments": arguments}}


def _tools(request: ChatRequest) -> Tools | None:
    """What may be called. A function that is named is the only one that the model is told of; with `none`, it is told of none."""
    choice = request.tool_choice
    tools = [tool for tool in request.tools if not isinstance(choice, NamedTool) or tool.function.name == choice.function.name]
    if not tools or choice == "none":
        return None
    functions = tuple({"type": "function", "function": _function(tool.function)} for tool in tools)
    return Tools(functions, must_call=choice != "auto", one_call=not request.parallel_tool_calls)


def _function(function: Function) -> dict[str, Any]:
    """A function as the client has it, and with the parameters that templates count on."""
    return {**function.model_dump(exclude_unset=True), "parameters": function.parameters}


def _wordless(messages: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The user's last message, if it is pictures without a word."""
    last = next((message for message in reversed(messages) if message["role"] == "user"), None)
    if last is None or isinstance(last["content"], str):
        return None
    return None if any(part.get("text", "").strip() for part in last["content"]) else last


def _images(parts: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [part for part in parts if part["type"] == "image"]


def _part(part: ContentPart) -> dict[str, str]:
    return {"type": "image"} if part.is_image else {"type": "text", "text": part.text or ""}
