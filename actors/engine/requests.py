"""A job as the scheduler's requests: how long its answer may get, what ends it, a request a choice."""

from actors.contracts import Job
from actors.engine.backend import Backend
from actors.engine.prompt import Prompt
from actors.engine.text import prompt_field
from actors.errors import ContextLengthError
from scheduler.request import Request


def requests_of(backend: Backend, job: Job, prompt: Prompt) -> tuple[Request, ...]:
    """What the scheduler gets for a job: a request a choice, the first with the job's own id. Raises `ContextLengthError`."""
    window = min(backend.context_length, job.context_window or backend.context_length)
    count = len(prompt.token_ids)
    room = window - count
    if room <= 0:
        raise ContextLengthError(count, window, prompt_field(job))
    max_tokens = min(job.max_tokens or room, room)
    return tuple(
        Request(
            request_id=f"{job.request_id}/{index}" if index else job.request_id,
            prompt=prompt.token_ids,
            inputs=prompt.inputs,
            max_tokens=max_tokens,
            stop_token_ids=_stop_token_ids(backend, job),
            sampling=job.sampling.for_choice(index),
            min_tokens=min(job.min_tokens, max_tokens),
            priority=job.priority,
            client=job.client,
        )
        for index in range(job.n)
    )


def _stop_token_ids(backend: Backend, job: Job) -> frozenset[int]:
    """The tokens that end a job's answer; what a tokenizer knows beyond the model's own vocabulary can't come."""
    own = () if job.ignore_eos else (token for token in backend.stop_token_ids if token < backend.vocabulary)
    return frozenset((*own, *job.stop_token_ids))
