"""Anthropic's Messages API: the same jobs as a chat's, worded as Anthropic's clients expect."""

import asyncio
import base64
import json

import pytest

from actors.contracts import Delta, ToolCall, Tools, Usage
from actors.errors import ContextLengthError, EngineError, InvalidJobError, ModelNotFoundError, QueueFullError
from actors.models import ModelType
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import get, post, send
from tests.fakes.pictures import picture
from tests.fakes.services import HANG, FakeServices

PATH, COUNT = "/v1/messages", "/v1/messages/count_tokens"
HELLO = {"model": "tiny", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
TOOLS = [
    {"name": "f", "description": "F", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}},
    {"name": "g", "input_schema": {"type": "object", "properties": {}}},
]
F, G = (
    {
        "type": "function",
        "function": {"name": tool["name"], "description": tool.get("description", ""), "parameters": tool["input_schema"]},
    }
    for tool in TOOLS
)


def ask(services=None, path=PATH, **fields):
    return send(create_app(services or FakeServices()), path, HELLO | fields)


def job(**fields):
    services = FakeServices()
    answer = ask(services, **fields)
    assert answer.status == 200, answer.json
    return services.jobs[0]


def told(*turns, **fields):
    """What a conversation is for templates."""
    return [
        dict(message)
        for message in job(messages=[{"role": role, "content": content} for role, content in turns], **fields).prompt.messages
    ]


def events(body):
    """A stream's events; checks that each is named as its type is."""
    *whole, rest = body.split(b"\n\n")
    assert rest == b"", "an event is cut off"
    found = []
    for event in whole:
        name, data = event.split(b"\n")
        found.append(json.loads(data.removeprefix(b"data: ")))
        assert name.removeprefix(b"event: ").decode() == found[-1]["type"]
    return found


CALLS = (
    Delta("", "", 1, reasoning="Let me "),
    Delta("", "Look", 1, reasoning="see."),
    Delta("", "ing.", 1),
    Delta("", "", 1, tool_calls=(ToolCall("a1", "f", '{"x": 1}'), ToolCall("b2", "g", "{}", 1))),
    Delta("", "", 1, "tool_calls", Usage(20, 5, cached_tokens=12)),
)
USAGE = {"input_tokens": 8, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 12, "output_tokens": 5}


def test_a_whole_message():
    services = FakeServices(CALLS)
    answer = ask(services, tools=TOOLS)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "id": services.jobs[0].request_id,
        "type": "message",
        "role": "assistant",
        "model": "tiny",
        "content": [
            {"type": "thinking", "thinking": "Let me see.", "signature": "omlx"},
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "a1", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "b2", "name": "g", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": USAGE,
    }
    assert answer.json["id"].startswith("msg_")


def test_a_streamed_message():
    services = FakeServices(CALLS)
    answer = ask(services, tools=TOOLS, stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    begun, *between, change, end = events(answer.body)
    assert begun == {
        "type": "message_start",
        "message": {
            "id": services.jobs[0].request_id,
            "type": "message",
            "role": "assistant",
            "model": "tiny",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
        },
    }
    assert between == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "see."}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "omlx"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Look"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "ing."}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "a1", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"x": 1}'}},
        {"type": "content_block_stop", "index": 2},
        {"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "b2", "name": "g", "input": {}}},
        {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 3},
    ]
    assert change == {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": USAGE}
    assert end == {"type": "message_stop"}
    assert [each.closed for each in services.answers] == [1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("last", "reason", "sequence"),
    [
        (Delta("", "", 1, "stop", Usage(5, 2)), "end_turn", None),
        (Delta("", "", 1, "length", Usage(5, 2)), "max_tokens", None),
        (Delta("", "", 1, "stop", Usage(5, 2), stop_text="END"), "stop_sequence", "END"),
        (Delta("", "", 1, "tool_calls", Usage(5, 2), stop_text="END"), "tool_use", None),
    ],
)
def test_why_a_message_ends(stream, last, reason, sequence):
    answer = ask(FakeServices(("Hi", last)), stream=stream)
    ended = events(answer.body)[-2]["delta"] if stream else answer.json
    assert (ended["stop_reason"], ended["stop_sequence"]) == (reason, sequence)


def test_a_message_without_a_word_is_whole_too():
    assert ask(FakeServices(())).json["content"] == []
    assert [event["type"] for event in events(ask(FakeServices(()), stream=True).body)] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]


def test_the_requests_values_reach_the_job_and_the_model_s_hold_for_the_others():
    asked = job(temperature=0.5, top_p=0.9, top_k=40, stop_sequences=["END"], max_tokens=7, metadata={"user_id": "me"})
    assert (asked.sampling.temperature, asked.sampling.top_p, asked.sampling.top_k) == (0.5, 0.9, 40)
    assert (asked.stop, asked.max_tokens, asked.client) == (("END",), 7, "me")
    services = FakeServices(models=(served("tiny", defaults={"temperature": 0.25, "top_k": 9}),))
    assert ask(services).status == 200
    assert (services.jobs[0].sampling.temperature, services.jobs[0].sampling.top_k) == (0.25, 9)


def test_a_long_user_is_some_user():
    users = {job(metadata={"user_id": letter * 1000}).client for letter in "aab"}
    assert len(users) == 2
    assert all(0 < len(user) <= 256 for user in users)


@pytest.mark.parametrize(
    ("thinking", "variables"),
    [(None, {}), ({"type": "enabled", "budget_tokens": 1024}, {"enable_thinking": True}), ({"type": "adaptive"}, {"enable_thinking": True}), ({"type": "disabled"}, {"enable_thinking": False})],
)  # fmt: skip
def test_thinking_is_a_variable_of_the_template(thinking, variables):
    assert job(thinking=thinking).prompt.variables == variables


@pytest.mark.parametrize(
    ("choice", "tools"),
    [
        (None, Tools((F, G))),
        ({"type": "auto", "disable_parallel_tool_use": True}, Tools((F, G), one_call=True)),
        ({"type": "any"}, Tools((F, G), must_call=True)),
        ({"type": "tool", "name": "g"}, Tools((G,), must_call=True)),
        ({"type": "none"}, None),
    ],
)
def test_tools_reach_the_job(choice, tools):
    assert job(tools=TOOLS, tool_choice=choice).prompt.tools == tools
    assert job().prompt.tools is None


def test_the_system_s_words_come_first_without_what_is_meant_for_anthropic():
    blocks = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=12345;"},
        {"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be brief."},
    ]
    assert told(("user", "Hi"), system=blocks)[0] == {"role": "system", "content": "You help.\nBe brief."}
    assert told(("user", "Hi"), system="You help.")[0] == {"role": "system", "content": "You help."}
    assert [message["role"] for message in told(("user", "Hi"), system=blocks[:1])] == ["user"]


def test_turns_become_what_templates_know():
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "omlx"}
    assert told(
        ("user", [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B"}]),
        ("assistant", [thought, {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "So:"}, use, {**use, "id": "b"}]),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
                {"type": "tool_result", "tool_use_id": "b", "content": "No.", "is_error": True},
                {"type": "text", "text": "Go on."},
            ],
        ),
        ("system", "Mind the gap."),
        ("user", "C"),
        ("assistant", "Done."),
        ("user", [{"type": "tool_result", "tool_use_id": "c"}]),
    ) == [
        {"role": "user", "content": "A\nB"},
        {
            "role": "assistant",
            "content": "So:",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
                {"id": "b", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
            ],
        },
        {"role": "tool", "content": "1\n2", "tool_call_id": "a"},
        {"role": "tool", "content": "Error: No.", "tool_call_id": "b"},
        {"role": "user", "content": "Go on.\n<system-reminder>\nMind the gap.\n</system-reminder>\nC"},
        {"role": "assistant", "content": "Done."},
        {"role": "tool", "content": "", "tool_call_id": "c"},
    ]  # fmt: skip


REMINDER = "<system-reminder>\nBe quick.\n</system-reminder>"


def test_reminders_behind_a_result_are_part_of_it_and_the_users_words_are_not():
    result = {"type": "tool_result", "tool_use_id": "a", "content": "1"}
    reminder = {"type": "text", "text": REMINDER}
    assert [message["content"] for message in told(("user", [result, reminder]))] == [f"1\n\n{REMINDER}"]
    assert [message["content"] for message in told(("user", [result]), ("system", "Be quick."))] == [f"1\n\n{REMINDER}"]
    words = {"type": "text", "text": "Stop."}
    assert [message["content"] for message in told(("user", [result, words, reminder]))] == ["1", f"Stop.\n{REMINDER}"]
    assert [message["content"] for message in told(("user", [words, result]))] == ["Stop.", "1"]


PNG = picture("PNG")


def image(data=PNG):
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(data).decode()}}


def seeing(**fields):
    services = FakeServices(models=(served("eye", ModelType.VLM),))
    return services, ask(services, model="eye", **fields)


def test_pictures_reach_the_job_in_order_those_of_results_with_the_next_words():
    other = picture("JPEG")
    result = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "See:"}, image(other)]}
    services, answer = seeing(
        messages=[
            {"role": "user", "content": [image(), {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
        ]
    )
    assert answer.status == 200, answer.json
    prompt = services.jobs[0].prompt
    assert [each.data for each in prompt.images] == [PNG, other]
    assert [each.param for each in prompt.images] == ["messages.0.content.0", "messages.2.content.0.content.1"]
    assert [message["content"] for message in prompt.messages] == [
        [{"type": "image"}, {"type": "text", "text": "What?"}],
        "",
        "See:",
        [{"type": "image"}, {"type": "text", "text": "And?"}],
    ]


def test_pictures_among_results_keep_their_order():
    first, second, third = (picture(kind) for kind in ("PNG", "JPEG", "GIF"))
    results = [{"type": "tool_result", "tool_use_id": "a", "content": [image(data)]} for data in (first, third)]
    services, answer = seeing(messages=[{"role": "user", "content": [results[0], image(second), results[1]]}])
    assert answer.status == 200, answer.json
    prompt = services.jobs[0].prompt
    assert [each.data for each in prompt.images] == [first, second, third]
    assert [message["content"] for message in prompt.messages] == ["", "", [{"type": "image"}] * 3]


def test_a_picture_that_can_t_be_taken_is_named():
    by_url = {"type": "image", "source": {"type": "url", "url": "http://example.com/a.png"}}
    _, answer = seeing(messages=[{"role": "user", "content": [image(), by_url]}])
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    assert "messages.0.content.1" in answer.json["error"]["message"]


def test_what_is_not_known_is_accepted_where_it_changes_nothing():
    asked = job(
        context_management={"edits": []},
        output_config={"effort": "high"},
        betas=["x"],
        service_tier="auto",
        mcp_servers=[],
        container=None,
    )
    assert asked.prompt.messages == ({"role": "user", "content": "Hi"},)
    assert send(create_app(FakeServices()), f"{PATH}?beta=true", HELLO, {"anthropic-beta": "a,b"}).status == 200


def turn(*blocks, role="user"):
    return {"messages": [{"role": role, "content": list(blocks)}, {"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "'messages'"),
        ({"messages": [{"role": "user", "content": 5}]}, "'messages.0.content'"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "'messages.0.role'"),
        ({"messages": [*HELLO["messages"], {"role": "assistant", "content": "{"}]}, "can't be begun"),
        (turn({"type": "document", "source": {}}), "document"),
        (turn({"type": "text"}), "'messages.0.content.0.text'"),
        (turn({"type": "image", "source": {"type": "file", "file_id": "x"}}), "no files"),
        (turn({"type": "image", "source": {"type": "url"}}), "'messages.0.content.0.source.url'"),
        (turn({"type": "tool_use", "id": "a", "name": "", "input": {}}, role="assistant"), "'messages.0.content.0.name'"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "Anthropic's servers"),
        ({"tools": [{"name": "f"}]}, "'tools.0.input_schema'"),
        ({"tool_choice": {"type": "any"}}, "'tool_choice'"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "h"}}, "no 'h'"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, "plain text"),
        ({"mcp_servers": [{"name": "x"}]}, "MCP"),
        ({"thinking": {"type": "deep"}}, "'thinking.type'"),
        ({"max_tokens": 0}, "'max_tokens'"),
        ({"temperature": 3}, "'temperature'"),
    ],
)
def test_what_can_not_be_followed_is_refused(fields, named):
    services = FakeServices()
    answer = ask(services, **fields)
    assert (answer.status, set(answer.json), answer.json["type"]) == (400, {"type", "error", "request_id"}, "error")
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert named in answer.json["error"]["message"]
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert services.jobs == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ContextLengthError(200, 100, "messages"), 400, "invalid_request_error"),
        (InvalidJobError("no", "tools"), 400, "invalid_request_error"),
        (ModelNotFoundError("tiny", ()), 404, "not_found_error"),
        (QueueFullError("tiny", 8, 3), 429, "rate_limit_error"),
        (EngineError("tiny", "gone"), 503, "overloaded_error"),
        (RuntimeError("secret"), 500, "api_error"),
    ],
)
def test_errors_are_worded_as_anthropic_s(error, status, kind, stream):
    answer = ask(FakeServices(refusal=error), stream=stream)
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (status, "error", kind)
    assert "secret" not in answer.json["error"]["message"]
    if isinstance(error, ContextLengthError):  # Claude Code looks for these words
        assert answer.json["error"]["message"] == "prompt is too long: 200 tokens > 100 maximum"


def test_what_is_not_there_is_told_in_the_same_words():
    app = create_app(FakeServices())
    assert get(app, PATH).json["error"]["type"] == "invalid_request_error"
    assert get(app, f"{PATH}/batches").json["error"]["type"] == "not_found_error"
    assert send(create_app(FakeServices(), max_body_bytes=10), PATH, HELLO).json["error"]["type"] == "request_too_large"
    assert "code" in get(app, "/v1/messagesx").json["error"]


def test_a_stream_that_breaks_off_says_so():
    *_, last = events(ask(FakeServices(("Hi", EngineError("tiny", "gone"))), stream=True).body)
    assert (last["type"], last["error"]["type"]) == ("error", "overloaded_error")


def test_a_stream_says_that_it_lives_while_its_model_is_loaded():
    async def run():
        services = FakeServices(refusal=HANG)
        call = post(create_app(services, keep_alive_seconds=0.001), PATH, HELLO | {"stream": True})
        running = asyncio.create_task(call.run())
        await call.wait_for(b'event: ping\ndata: {"type":"ping"}\n\n')
        call.leave()
        await running
        return call

    assert asyncio.run(run()).status == 200


def test_a_stream_says_that_it_lives_while_a_call_is_made():
    silent = [Delta("", "", 1)] * 3
    answer = send(create_app(FakeServices((*silent, *CALLS)), keep_alive_seconds=0.0), PATH, HELLO | {"stream": True})
    kinds = [event["type"] for event in events(answer.body)]
    begun = kinds.index("message_start")
    assert kinds[begun + 1 : begun + 3] == ["ping", "ping"]
    slow = [event["type"] for event in events(ask(FakeServices((*silent, *CALLS)), stream=True).body)]
    assert "ping" not in slow


def test_tokens_are_counted_without_an_answer():
    services = FakeServices()
    answer = ask(services, COUNT, system="Be brief.", tools=TOOLS, thinking={"type": "disabled"}, max_tokens=None)
    assert (answer.status, answer.json) == (200, {"input_tokens": len("Be brief.Hi")})
    (asked,) = services.jobs
    assert (asked.prompt.tools, asked.prompt.variables) == (Tools((F, G)), {"enable_thinking": False})
    assert services.answers == []
    assert ask(FakeServices(refusal=EngineError("tiny", "gone")), COUNT).status == 503
    assert ask(FakeServices(), COUNT, messages=[]).json["error"]["type"] == "invalid_request_error"


def test_models_for_something_else_are_refused():
    services = FakeServices(models=(served("bge", ModelType.EMBEDDING),))
    for path in (PATH, COUNT):
        answer = ask(services, path, model="bge")
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
        assert "/v1/embeddings" in answer.json["error"]["message"]


def test_messages_count_in_the_metrics_as_chats_do():
    app = create_app(FakeServices(CALLS))
    assert send(app, PATH, HELLO).status == 200
    assert send(app, COUNT, HELLO).status == 200
    shown = get(app, "/metrics").body.decode()
    assert 'omlx_requests_total{endpoint="/v1/messages",finished_reason="tool_calls",model_name="tiny",status="200"} 1.0' in shown
    assert 'omlx_http_requests_total{endpoint="/v1/messages/count_tokens",method="POST",status="200"} 1.0' in shown
    assert 'omlx_requests_total{endpoint="/v1/messages/count_tokens"' not in shown
