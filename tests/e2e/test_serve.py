"""What a person sees who starts the server and talks to it with the official client."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from benchmarks.bench_batching import QUESTIONS
from benchmarks.client import chat
from benchmarks.server import running_server

OMLX = Path(sys.executable).with_name("omlx")  # the command, as it was installed beside this Python
MODEL = "SmolLM2-135M-Instruct"
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
LONG = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me a long story."}], "max_tokens": 400}


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def engine_pid(server, but=()):
    """The engine's process, by its title."""
    found = [
        process.pid
        for process in psutil.Process(server.pid).children(recursive=True)
        if "omlx engine" in " ".join(process.cmdline())
    ]
    (pid,) = [pid for pid in found if pid not in but]
    return pid


def wait_for(condition, seconds=10.0):
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not so within {seconds} s")


def running(server):
    """How many requests the engine's batch holds, as the metrics say."""
    text = httpx.get(f"{server.url}/metrics").text
    line = next(line for line in text.splitlines() if line.startswith(f'omlx_num_requests_running{{model_name="{MODEL}"}}'))
    return float(line.rpartition(" ")[2])


def test_it_is_healthy_soon(server):
    assert server.start_seconds < 20
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"


def test_the_official_client_gets_paris(client):
    answer = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0)
    assert answer.choices[0].message.content == "The capital of France is Paris."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 8
    assert [model.id for model in client.models.list()] == [MODEL]


def test_the_official_client_gets_paris_streamed(client):
    options = {"include_usage": True}
    stream = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0, stream=True, stream_options=options)
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == "The capital of France is Paris."
    assert len([piece for piece in pieces if piece]) >= 6
    assert chunks[-1].usage.completion_tokens == 8


def test_a_completion_goes_on_from_its_prompt(client):
    answer = client.completions.create(model=MODEL, prompt="One, two, three, four,", max_tokens=3, temperature=0)
    assert answer.choices[0].text.strip().startswith("five")
    assert answer.choices[0].finish_reason == "length"


def test_eight_at_once_say_what_each_says_alone(server):
    bodies = [
        {"model": MODEL, "messages": [{"role": "user", "content": q}], "temperature": 0, "max_tokens": 24} for q in QUESTIONS
    ]

    async def test():
        together = await asyncio.gather(*(chat(server.url, body) for body in bodies))
        alone = [await chat(server.url, body) for body in bodies]
        assert [m.error for m in (*together, *alone)] == [None] * 16
        assert [m.text for m in together] == [m.text for m in alone]
        assert len({m.text for m in alone}) == len(QUESTIONS)

    asyncio.run(test())


def test_a_seed_gives_the_same_text_again(client):
    texts = {
        client.chat.completions.create(model=MODEL, messages=CAPITAL, seed=7, temperature=1.5, max_tokens=16)
        .choices[0]
        .message.content
        for _ in range(2)
    }
    assert len(texts) == 1


def test_several_choices_are_those_of_separate_requests(client):
    options = {"model": MODEL, "messages": CAPITAL, "seed": 7, "temperature": 1.5, "max_tokens": 12}
    texts = {0: "", 1: ""}
    for chunk in client.chat.completions.create(**options, n=2, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
    whole = client.chat.completions.create(**options, n=2)
    assert {choice.index: choice.message.content for choice in whole.choices} == texts
    assert texts[0] == client.chat.completions.create(**options).choices[0].message.content
    assert texts[0] != texts[1]
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens <= 24) == (37, True)


def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nonsense", messages=CAPITAL)
    assert unknown.value.code == "model_not_found"
    assert MODEL in unknown.value.message
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 9000}])
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_is_out_of_the_batch(server, stream):
    before = running(server)
    with suppress(httpx.ReadTimeout):
        if stream:
            with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=LONG | {"stream": True}) as response:
                next(response.iter_lines())
                assert running(server) == before + 1
        else:
            httpx.post(f"{server.url}/v1/chat/completions", json=LONG, timeout=1)
    wait_for(lambda: running(server) == before, seconds=3)


def test_the_log_says_what_multiplies_matrices(server):
    assert f"{MODEL} is ready: process" in server.log.read_text()
    assert "cpu with Intel MKL" in server.log.read_text()


def test_a_killed_engine_ends_its_stream_with_an_error_and_is_back(server, client):
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=LONG | {"stream": True}, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        killed = engine_pid(server)
        os.kill(killed, signal.SIGKILL)
        events = [line for line in lines if line]
    last = json.loads(events[-1].removeprefix("data: "))
    assert last["error"]["code"] == "engine_died"
    answer = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0)
    assert answer.choices[0].message.content == "The capital of France is Paris."
    assert engine_pid(server, but=[killed]) != killed


def test_ctrl_c_ends_everything_within_five_seconds(demo_models, tmp_path, monkeypatch):
    # The current folder holds a file of a name that ours has, too.
    (tmp_path / "scheduler.py").write_text("raise RuntimeError('taken for ours')")
    monkeypatch.chdir(tmp_path)
    with running_server(demo_models) as server:
        body = LONG | {"stream": True}
        with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=30) as response:
            next(response.iter_lines())
            family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
            assert any("omlx engine" in " ".join(process.cmdline()) for process in family)
            os.kill(server.pid, signal.SIGINT)
            _, alive = psutil.wait_procs(family, timeout=5)
            assert alive == []


def test_a_killed_server_leaves_no_process_behind(demo_models):
    with running_server(demo_models) as server:
        httpx.post(f"{server.url}/v1/chat/completions", json=LONG | {"max_tokens": 1}, timeout=60).raise_for_status()
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        # Ray's own two agents take a minute to notice that their parent is gone.
        family = [process for process in family if not process.cmdline()[0].endswith("Agent")]
        assert len(family) >= 5
        os.kill(server.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


def test_a_busy_port_is_said_in_one_line(server, demo_models):
    port = server.url.rpartition(":")[2]
    done = subprocess.run(
        [OMLX, "serve", "--port", port, "--model-dir", str(demo_models)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: Can't listen on 127.0.0.1:{port}: Address already in use.")


def test_somebody_elses_package_of_our_name_is_named(tmp_path):
    (tmp_path / "scheduler.py").write_text("")
    done = subprocess.run(
        [OMLX, "models"], capture_output=True, text=True, timeout=20, check=False, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 1
    assert str(tmp_path / "scheduler.py") in done.stderr


def test_a_running_cluster_is_joined_and_left_as_it_was(demo_models):
    import_module("actors.runtime")  # decides how clusters are entered, before Ray is asked for one
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        with running_server(demo_models, "--ray-address", cluster.address) as server:
            body = LONG | {"messages": CAPITAL, "temperature": 0}
            answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).json()
            assert answer["choices"][0]["message"]["content"] == "The capital of France is Paris."
            raylet = psutil.Process(cluster.head_node.all_processes["raylet"][0].process.pid)
            ours = [child for child in raylet.children(recursive=True) if "ray::omlx" in child.cmdline()[0]]
            assert len(ours) == 2
            os.kill(server.pid, signal.SIGINT)
            _, alive = psutil.wait_procs([*ours, psutil.Process(server.pid)], timeout=5)
            assert alive == []
        assert raylet.is_running()
    finally:
        cluster.shutdown()
