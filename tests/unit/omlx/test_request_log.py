"""A request is told in one line once it is over, and its id stands in every line that is logged on its behalf, and in no other."""

import asyncio
import json
import logging

import pytest

from actors.contracts import Usage
from actors.log_lines import line_format
from omlx.record import RequestRecord
from omlx.request_log import RequestIds, RequestLog, current_request, request_fields

CHAT = "/v1/chat/completions"


def record(request_id="req_1", method="POST", endpoint=CHAT, seconds=3.1021, **known):
    return RequestRecord(request_id, method, received=100.0, received_at=0.0, endpoint=endpoint, ended=100.0 + seconds, **known)


def generation(**known):
    """A streamed answer that came to its end."""
    begun = {
        "status": 200,
        "model_id": "tiny",
        "for_model": True,
        "is_generation": True,
        "stream": True,
        "answer_id": "chatcmpl-1",
        "prompt_tokens": 37,
        "completion_tokens": 120,
        "first_token": 100.21348,
        "last_token": 103.1,
        "finish_reason": "stop",
        "usage": Usage(37, 120, queue_seconds=0.00041, prefill_seconds=0.2, decode_seconds=2.88, cached_tokens=24),
    }
    return record(**begun | known)


class Lines(logging.Handler):
    """Keeps what is logged, as (level, text, fields)."""

    def __init__(self):
        super().__init__()
        self.kept = []
        self.addFilter(RequestIds())

    def emit(self, each):
        fields = json.loads(line_format("json").format(each))
        del fields["time"], fields["logger"]
        self.kept.append((fields.pop("level"), line_format("text", "at").format(each), fields))


@pytest.fixture
def lines():
    handler, logger = Lines(), logging.getLogger("omlx")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield handler.kept
    logger.removeHandler(handler)
    logger.setLevel(level)


def told(lines, ended):
    """How a request is told, as (level, text after the level, fields)."""
    RequestLog().ended(ended)
    ((level, text, fields),) = lines
    assert fields.pop("message") == text.split(" req_1 ", 1)[1]
    assert fields == request_fields(ended)
    return level, text[11:], fields


def test_a_streamed_answer_is_told_with_all_that_is_known(lines):
    level, text, fields = told(lines, generation())
    assert level == "info"
    assert text == (f"req_1 POST {CHAT} 200 tiny 37 in (24 cached), 120 out, first token 0.21 s, 41.2 tokens/s, 3.10 s, stop")
    assert fields == {
        "request_id": "req_1",
        "method": "POST",
        "endpoint": CHAT,
        "status": 200,
        "model": "tiny",
        "answer_id": "chatcmpl-1",
        "stream": True,
        "prompt_tokens": 37,
        "cached_tokens": 24,
        "completion_tokens": 120,
        "seconds": 3.1021,
        "seconds_to_first_token": 0.2135,
        "queue_seconds": 0.0004,
        "prefill_seconds": 0.2,
        "decode_seconds": 2.88,
        "tokens_per_second": 41.23,
        "finish_reason": "stop",
    }


def test_vectors_have_no_tokens_of_their_own(lines):
    embedded = record(
        endpoint="/v1/embeddings",
        seconds=0.0042,
        status=200,
        model_id="bge",
        for_model=True,
        prompt_tokens=812,
        finish_reason="stop",
    )
    level, text, fields = told(lines, embedded)
    assert (level, text) == ("info", "req_1 POST /v1/embeddings 200 bge 812 in, 0.004 s, stop")
    assert {"stream", "completion_tokens", "answer_id"}.isdisjoint(fields)
    assert (fields["prompt_tokens"], fields["finish_reason"]) == (812, "stop")


def test_one_token_or_tokens_that_came_together_have_no_pace(lines):
    _, text, fields = told(lines, generation(completion_tokens=1, last_token=100.21348, usage=Usage(37, 1)))
    assert text == f"req_1 POST {CHAT} 200 tiny 37 in, 1 out, first token 0.21 s, 3.10 s, stop"
    assert "tokens_per_second" not in fields
    assert "tokens_per_second" not in request_fields(generation(last_token=100.21348))


def test_a_refusal_before_a_model_has_neither_tokens_nor_model(lines):
    refused = record(seconds=0.00184, status=404, for_model=True, is_generation=True, error="model_not_found")
    level, text, fields = told(lines, refused)
    assert (level, text) == ("info", f"req_1 POST {CHAT} 404 0.002 s, model_not_found")
    assert set(fields) == {"request_id", "method", "endpoint", "status", "seconds", "error"}


def test_an_answer_whose_client_left_has_what_was_made_of_it(lines):
    left = generation(
        usage=None, completion_tokens=3, last_token=100.61348, seconds=12.0, finish_reason="abort", error="client_gone"
    )
    level, text, fields = told(lines, left)
    assert level == "info"
    assert text == (f"req_1 POST {CHAT} 200 tiny 37 in, 3 out, first token 0.21 s, 5.0 tokens/s, 12.0 s, abort, client_gone")
    assert not {"cached_tokens", "queue_seconds", "prefill_seconds", "decode_seconds"} & set(fields)


def test_a_client_that_left_before_a_token_left_nothing_out_that_is_known(lines):
    left = generation(status=499, usage=None, completion_tokens=0, first_token=None, last_token=None, finish_reason="abort")
    _, text, fields = told(lines, left)
    assert text == f"req_1 POST {CHAT} 499 tiny 37 in, 0 out, 3.10 s, abort"
    assert fields["completion_tokens"] == 0


def test_a_stream_that_breaks_off_is_a_warning_and_an_error_where_nothing_foresaw_it(lines):
    level, text, _ = told(lines, generation(usage=None, finish_reason="error", error="engine_died"))
    assert (level, text.rsplit(" s, ")[-1]) == ("warning", "error, engine_died")
    lines.clear()
    assert told(lines, generation(usage=None, finish_reason="error", error="internal_error"))[0] == "error"


@pytest.mark.parametrize(("status", "level"), [(500, "error"), (503, "warning"), (507, "warning"), (429, "info")])
def test_what_the_server_could_not_answer_is_more_severe(lines, status, level):
    assert told(lines, record(status=status, for_model=True, is_generation=True, error="it"))[0] == level


def test_health_is_told_to_those_who_want_details(lines):
    level, text, fields = told(lines, record(method="GET", endpoint="/health", seconds=0.0004, status=200))
    assert (level, text) == ("debug", "req_1 GET /health 200 0.000 s")
    assert set(fields) == {"request_id", "method", "endpoint", "status", "seconds"}
    lines.clear()
    assert told(lines, record(method="GET", endpoint="/v1/models", status=503, error="catalog_unavailable"))[0] == "warning"


def test_a_line_that_nobody_wants_is_not_made(lines):
    logging.getLogger("omlx").setLevel(logging.INFO)
    RequestLog().ended(record(method="GET", endpoint="/health", status=200))
    assert lines == []


def test_an_answer_that_never_began_has_no_status(lines):
    _, text, fields = told(lines, record(model_id="tiny", for_model=True, is_generation=True))
    assert text == f"req_1 POST {CHAT} tiny 3.10 s"
    assert (fields["stream"], "status" in fields) == (False, False)


def test_lines_of_a_request_carry_its_id_in_its_tasks_and_threads_too(lines):
    log = logging.getLogger("omlx.anything")

    async def part(text):
        await asyncio.to_thread(log.info, "%s in a thread", text)
        log.info("%s", text)

    async def handle(name, others_are_there):
        RequestLog().began(record(name))
        await others_are_there.wait()
        await asyncio.gather(part("one"), asyncio.create_task(part("two")))

    async def both():
        others_are_there = asyncio.Barrier(2)
        await asyncio.gather(*(asyncio.create_task(handle(name, others_are_there)) for name in ("a", "b")))
        log.info("outside")

    asyncio.run(both())
    said = [(fields.get("request_id"), fields["message"]) for _, _, fields in lines]
    each = ["one", "one in a thread", "two", "two in a thread"]
    assert sorted(said[:-1]) == [("a", text) for text in each] + [("b", text) for text in each]
    assert said[-1] == (None, "outside")


def test_what_a_request_leaves_running_is_not_its_own_once_it_is_over():
    heard = []

    async def test():
        over = asyncio.Event()

        async def lives_longer():
            heard.append(current_request())
            await over.wait()
            heard.append(current_request())

        async def handle():
            RequestLog().began(record())
            task = asyncio.create_task(lives_longer())
            await asyncio.sleep(0)
            return task

        task = await asyncio.create_task(handle())
        over.set()
        await task

    asyncio.run(test())
    assert heard == ["req_1", ""]


def test_what_is_logged_after_the_request_s_own_line_but_in_its_task_still_carries_its_id():
    async def handle():
        log = RequestLog()
        log.began(record())
        log.ended(record())
        return current_request()

    assert asyncio.run(handle()) == "req_1"
