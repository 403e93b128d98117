"""Turns requests into jobs: OpenAI's words into the engine's, with OpenAI's defaults."""

import secrets
from typing import Any
from uuid import uuid4

from actors.contracts import ChatPrompt, Job, TextPrompt, TokenPrompt
from omlx.api.openai import ChatRequest, CompletionRequest, GenerationRequest, Message
from scheduler.sampling import SamplingParams

_SEED_MASK = (1 << 64) - 1


def chat_job(request: ChatRequest) -> Job:
    """A conversation to answer."""
    return _job("chatcmpl", request, ChatPrompt(tuple(_message(message) for message in request.messages)))


def completion_job(request: CompletionRequest) -> Job:
    """A prompt to go on from."""
    prompt = request.prompt
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return _job("cmpl", request, TextPrompt(prompt))
    return _job("cmpl", request, TokenPrompt(tuple(token for token in prompt if isinstance(token, int))))


def _job(prefix: str, request: GenerationRequest, prompt: ChatPrompt | TextPrompt | TokenPrompt) -> Job:
    seed = secrets.randbits(64) if request.seed is None else request.seed & _SEED_MASK
    return Job(
        # The client's own request id won't do: nothing keeps it from being sent twice.
        request_id=f"{prefix}-{uuid4().hex}",
        prompt=prompt,
        sampling=SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            seed=seed,
            top_k=max(request.top_k, 0),
            min_p=request.min_p,
            repetition_penalty=request.repetition_penalty,
            presence_penalty=request.presence_penalty,
            frequency_penalty=request.frequency_penalty,
            logit_bias=request.logit_bias,
            logprobs=request.wanted_logprobs,
        ),
        max_tokens=request.token_limit,
        stop=tuple(request.stop),
        stop_token_ids=tuple(request.stop_token_ids),
        ignore_eos=request.ignore_eos,
        min_tokens=request.min_tokens,
        priority=request.priority,
        client=request.user,
        timeout=request.timeout,
        n=request.n,
    )


def _message(message: Message) -> dict[str, Any]:
    """A message as chat templates know it: templates have no developer, and content is one text."""
    content = message.content or ""
    if not isinstance(content, str):
        content = "\n".join(part.text for part in content)
    role = "system" if message.role == "developer" else message.role
    return {**(message.model_extra or {}), "role": role, "content": content}
