"""Records of requests, as they are when the request is over."""

from dataclasses import replace

from actors.contracts import Usage
from omlx.record import RequestRecord

CHATTED = RequestRecord(
    request_id="req_1",
    method="POST",
    received=100.0,
    received_at=1_700_000_000.0,
    endpoint="/v1/chat/completions",
    status=200,
    ended=104.0,
    model_id="tiny",
    for_model=True,
    is_generation=True,
    answer_id="chatcmpl-1",
    prompt_tokens=12,
    completion_tokens=5,
    first_token=101.5,
    last_token=103.5,
    finish_reason="stop",
    usage=Usage(12, 5, queue_seconds=0.25, prefill_seconds=0.5, decode_seconds=2.0, cached_tokens=8),
)


def chatted(**changes):
    """A chat's record: 4 s, the first of 5 tokens after 1.5 s and the last after 3.5 s."""
    return replace(CHATTED, **changes)


def refused(status, error, **changes):
    """One that no token came of."""
    nothing = {"answer_id": "", "prompt_tokens": 0, "completion_tokens": 0, "first_token": None, "last_token": None}
    return replace(CHATTED, status=status, error=error, finish_reason="", usage=None, **(nothing | changes))
