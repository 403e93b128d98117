"""Chat completions: what engines get, what clients get, whole and streamed."""

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from actors.contracts import ChatPrompt, Delta, LikelyToken, TokenLogprob, ToolCall, Tools, Usage
from actors.errors import EngineError
from omlx.app import create_app
from scheduler.sampling import SamplingParams
from tests.fakes.http import events, send
from tests.fakes.services import CUT, FakeServices

PATH = "/v1/chat/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def ask(services, **fields):
    return send(create_app(services), PATH, HELLO | fields)


def job(**fields):
    services = FakeServices()
    answer = ask(services, **fields)
    assert answer.status == 200, answer.json
    return services.jobs[0]


def test_a_whole_answer():
    services = FakeServices(("Grüße", ", 世界", "!"))
    answer = ask(services)
    body = answer.json
    assert answer.headers["content-type"] == "application/json"
    assert body["id"] == services.jobs[0].request_id
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert body["model"] == "tiny"
    assert body["system_fingerprint"].startswith("fp_")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Grüße, 世界!", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 4,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert [a.closed for a in services.answers] == [1]


def test_a_streamed_answer():
    services = FakeServices(("Grü", "", "ße"), finish_reason="length")
    answer = ask(services, stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    *chunks, done = events(answer.body)
    assert done == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Grü"},
        {"content": "ße"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "length"]
    assert {chunk["id"] for chunk in chunks} == {services.jobs[0].request_id}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert all("usage" not in chunk for chunk in chunks)
    assert answer.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert [a.closed for a in services.answers] == [1]


def test_each_token_is_sent_when_it_comes():
    answer = ask(FakeServices(("a", "b", "c")), stream=True)
    bodies = [message["body"] for message in answer.sent if message.get("body")]
    assert len(bodies) == 4
    assert b'"a"' in bodies[0]


def test_a_whole_answer_has_its_choices_in_order():
    services = FakeServices((Delta("", "Hé", 1), Delta("", "Yo", 2, "length", index=1), Delta("", "Ah", 1, index=2), "llo"))
    body = ask(services, n=3, seed=5).json
    assert services.jobs[0].n == 3
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in body["choices"]] == ["Héllo", "Yo", "Ahllo"]
    assert [choice["finish_reason"] for choice in body["choices"]] == ["stop", "length", "stop"]
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (5, 7)
    assert [a.closed for a in services.answers] == [1]


def test_streamed_choices_each_begin_and_end_for_themselves():
    services = FakeServices((Delta("", "Hé", 1), Delta("", "", 1, index=1), "llo", Delta("", "!", 1, "length", index=1)))
    *chunks, usage, done = events(ask(services, stream=True, n=2, stream_options={"include_usage": True}).body)
    assert done == "[DONE]"
    choices = [chunk["choices"][0] for chunk in chunks]
    opening = {"role": "assistant", "content": ""}
    assert [(choice["index"], choice["delta"]) for choice in choices] == [
        (0, opening),
        (0, {"content": "Hé"}),
        (1, opening),
        (0, {"content": "llo"}),
        (1, {"content": "llo"}),
        (1, {"content": "!"}),
        (1, {}),
        (0, {}),
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * 6 + ["length", "stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 11)


def test_a_failure_ends_all_streamed_choices():
    services = FakeServices(("a", EngineError("tiny", "out of memory")))
    *chunks, last = events(ask(services, stream=True, n=2).body)
    assert {chunk["choices"][0]["index"] for chunk in chunks} == {0, 1}
    assert last["error"]["code"] == "engine_died"
    assert [a.closed for a in services.answers] == [1]


def test_the_usage_comes_in_a_last_chunk_without_choices():
    answer = ask(FakeServices(), stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = events(answer.body)
    assert done == "[DONE]"
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 8


def test_a_failure_before_the_first_token_has_its_status():
    services = FakeServices((EngineError("tiny", "out of memory"),))
    answer = ask(services, stream=True)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json["error"]["code"] == "engine_died"
    assert [a.closed for a in services.answers] == [1]


def test_a_failure_in_the_middle_is_the_last_event():
    services = FakeServices(("Hel", EngineError("tiny", "out of memory")))
    answer = ask(services, stream=True)
    assert answer.status == 200
    last = events(answer.body)[-1]
    assert last["error"]["code"] == "engine_died"
    assert last["error"]["type"] == "server_error"
    assert "out of memory" in last["error"]["message"]
    assert [a.closed for a in services.answers] == [1]


def test_a_failure_in_the_middle_of_a_whole_answer_is_an_error():
    answer = ask(FakeServices(("Hel", EngineError("tiny", "out of memory"))))
    assert answer.status == 503
    assert answer.json["error"]["code"] == "engine_died"


def test_an_answer_that_just_ends_is_the_engines_failure():
    assert ask(FakeServices(("a", CUT))).json["error"]["code"] == "engine_died"


def test_openais_defaults():
    asked = job()
    assert asked.sampling.temperature == 1.0
    assert asked.sampling.top_p == 1.0
    assert asked.max_tokens is None
    assert asked.stop == ()
    assert asked.prompt == ChatPrompt(({"role": "user", "content": "Hi"},))
    assert job().sampling.seed != asked.sampling.seed


def test_null_is_absent():
    optional = ("stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "n")
    more = ("user", "tools", "functions", "tool_choice", "response_format", "logprobs", "top_logprobs", "logit_bias")
    asked = job(**dict.fromkeys((*optional, *more, "frequency_penalty", "presence_penalty", "unknown")))
    assert asked.sampling.temperature == 1.0
    assert asked.stop == ()


def test_the_requests_values_reach_the_job():
    asked = job(temperature=0, top_p=0.5, seed=7, max_tokens=3, stop="\n", user="me", a_field_of_tomorrow={"x": 1})
    assert (asked.sampling.temperature, asked.sampling.top_p, asked.sampling.seed) == (0.0, 0.5, 7)
    assert asked.max_tokens == 3
    assert asked.stop == ("\n",)
    assert job(max_tokens=3, max_completion_tokens=4).max_tokens == 4
    assert job(stop=["a", "b", "c", "d", "e"]).stop == ("a", "b", "c", "d", "e")
    assert job(stop=[]).stop == ()


def test_every_sampling_parameter_reaches_the_job():
    given = {"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.2, "presence_penalty": -2, "frequency_penalty": 2}
    asked = job(**given, logit_bias={"5": -100, "17": 0.5}, logprobs=True, top_logprobs=20)
    assert {name: getattr(asked.sampling, name) for name in given} == given
    assert asked.sampling.logit_bias == {5: -100.0, 17: 0.5}
    assert asked.sampling.logprobs == 20
    asked = job(stop_token_ids=[7, 9], ignore_eos=True, min_tokens=3, max_tokens=3)
    assert (asked.stop_token_ids, asked.ignore_eos, asked.min_tokens) == ((7, 9), True, 3)


def test_parameters_that_are_off_ask_for_nothing():
    asked = job(top_k=-1, logprobs=False, top_logprobs=0, frequency_penalty=0, presence_penalty=0.0, logit_bias={})
    assert asked.sampling == SamplingParams(seed=asked.sampling.seed)
    assert job(logprobs=True).sampling.logprobs == 0


def likely(text, logprob, data=None):
    return LikelyToken(text, tuple(text.encode() if data is None else data), logprob)


HE = TokenLogprob(likely("H\ufffd", -0.5, b"H\xc3"), (likely("H\ufffd", -0.5, b"H\xc3"), likely("Yo", -1.0)))
LLO = TokenLogprob(LikelyToken("\ufffdllo", None, -0.25))
SAID = (Delta("", "H", 1, logprobs=(HE,)), Delta("", "", 1, logprobs=(LLO,)), "éllo")
CONTENT = [
    {
        "token": "H\ufffd",
        "bytes": [72, 195],
        "logprob": -0.5,
        "top_logprobs": [
            {"token": "H\ufffd", "bytes": [72, 195], "logprob": -0.5},
            {"token": "Yo", "bytes": [89, 111], "logprob": -1.0},
        ],
    },
    {"token": "\ufffdllo", "bytes": None, "logprob": -0.25, "top_logprobs": []},
]


def test_logprobs_of_a_whole_answer():
    (choice,) = ask(FakeServices(SAID), logprobs=True, top_logprobs=2).json["choices"]
    assert choice["message"]["content"] == "Héllo"
    assert choice["logprobs"] == {"content": CONTENT, "refusal": None}
    assert ask(FakeServices(()), logprobs=True).json["choices"][0]["logprobs"] == {"content": [], "refusal": None}


def test_logprobs_of_a_stream_come_with_their_step_though_its_text_waits():
    *chunks, _done = events(ask(FakeServices(SAID), stream=True, logprobs=True, top_logprobs=2).body)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["delta"].get("content") for choice in choices] == ["", "H", "", "éllo", None]
    shown = [choice["logprobs"] and choice["logprobs"]["content"] for choice in choices]
    assert shown == [None, CONTENT[:1], CONTENT[1:], None, None]


@pytest.mark.parametrize(("given", "used"), [(-1, 2**64 - 1), (-(2**63), 2**63), (2**63 - 1, 2**63 - 1), (0, 0)])
def test_every_seed_is_some_unsigned_one(given, used):
    assert job(seed=given).sampling.seed == used


CALLED = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def test_messages_become_what_templates_know():
    asked = job(
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
            {"role": "user", "content": "Hi", "name": "Ann", "audio": None},
            {"role": "assistant", "content": None, "reasoning_content": "Hm", "tool_calls": [CALLED]},
            {"role": "tool", "content": "42", "tool_call_id": "1"},
            {"role": "function", "content": "42", "name": "f"},
            {"role": "assistant"},
        ]
    )
    assert asked.prompt.messages == (
        {"role": "system", "content": "Be\nbrief."},
        {"role": "user", "content": "Hi", "name": "Ann"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "Hm",
            "tool_calls": [{**CALLED, "function": {"name": "f", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "1"},
        {"role": "function", "content": "42", "name": "f"},
        {"role": "assistant", "content": ""},
    )


@pytest.mark.parametrize(("given", "told"), [("", {}), ('{"x": 1}', {"x": 1}), ({"x": 1}, {"x": 1}), ("{", "{"), ("[1]", "[1]")])
def test_templates_get_the_arguments_of_calls_as_objects_where_they_are_some(given, told):
    asked = job(messages=[{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": given}}]}])
    (call,) = asked.prompt.messages[0]["tool_calls"]
    assert call == {"id": "1", "type": "function", "function": {"name": "f", "arguments": told}}


TOOLS = [
    {"type": "function", "function": {"name": "f", "description": "F", "parameters": {"type": "object"}, "strict": True}},
    {"type": "function", "function": {"name": "g"}},
]
G = {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}


def test_tools_reach_the_job():
    assert job(tools=TOOLS).prompt.tools == Tools((TOOLS[0], G))
    assert job(tools=TOOLS, tool_choice="auto", parallel_tool_calls=False).prompt.tools == Tools((TOOLS[0], G), one_call=True)
    assert job(tools=TOOLS, tool_choice="required").prompt.tools == Tools((TOOLS[0], G), must_call=True)
    chosen = {"type": "function", "function": {"name": "g"}}
    assert job(tools=TOOLS, tool_choice=chosen).prompt.tools == Tools((G,), must_call=True)
    assert job(tools=TOOLS, tool_choice="none").prompt.tools is None
    assert job(tools=[]).prompt.tools is None


CALLS = (
    Delta("", "", 1, reasoning="Let me "),
    Delta("", "Look:", 1, reasoning="see."),
    Delta("", "", 1, tool_calls=(ToolCall("a1", "f", '{"x": 1}'),)),
    Delta("", "", 1, "tool_calls", Usage(5, 4, reasoning_tokens=2), tool_calls=(ToolCall("b2", "g", "{}", 1),)),
)


def test_reasoning_and_calls_of_a_whole_answer():
    body = ask(FakeServices(CALLS), tools=TOOLS).json
    ChatCompletion.model_validate(body)
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Look:",
                "refusal": None,
                "reasoning_content": "Let me see.",
                "tool_calls": [
                    {"id": "a1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
                    {"id": "b2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ]
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_an_answer_of_calls_alone_has_no_content():
    message = ask(FakeServices(CALLS[2:]), tools=TOOLS).json["choices"][0]["message"]
    assert message["content"] is None
    assert "reasoning_content" not in message


def test_reasoning_and_calls_of_a_stream():
    *chunks, done = events(ask(FakeServices(CALLS), stream=True, tools=TOOLS).body)
    assert done == "[DONE]"
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me "},
        {"reasoning_content": "see.", "content": "Look:"},
        {"tool_calls": [{"index": 0, "id": "a1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]},
        {"tool_calls": [{"index": 1, "id": "b2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 5 + ["tool_calls"]


def test_harmless_forms_of_unsupported_fields_pass():
    job(
        tools=[],
        functions=[],
        tool_choice="auto",
        function_call="none",
        response_format={"type": "text"},
        n=1,
    )


def test_two_requests_with_one_client_id_are_two_jobs():
    services = FakeServices()
    app = create_app(services)
    for _ in range(2):
        assert send(app, PATH, HELLO, {"x-request-id": "same"}).status == 200
    assert len({asked.request_id for asked in services.jobs}) == 2
