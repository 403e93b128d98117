"""A model goes from its name to an answer, through the death of the server that fetches it."""

import json
import os
import signal

import httpx
import psutil
import pytest

from benchmarks.server import running_server
from tests.fakes.file_server import Stall
from tests.fakes.hub import fake_hub

NAME = "SmolLM2-135M-Instruct"
REPO = f"org/{NAME}"
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(demo_models):
    files = {file.name: file.read_bytes() for file in (demo_models / NAME).iterdir() if not file.name.startswith(".")}
    with fake_hub() as running:
        running.add(REPO, files)
        yield running


def follow(url):
    """The tasks, each time that they have changed."""
    with httpx.stream("GET", f"{url}/admin/api/hf/events", timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])["tasks"]


def test_a_wish_outlives_the_server_and_the_model_answers_without_a_restart(hub, tmp_path):
    models = tmp_path / "models"
    options = ("--no-hf-cache", "--base-path", str(tmp_path), "--hf-endpoint", hub.url)
    size = len(hub.repos[REPO].commits[hub.repos[REPO].revisions["main"]][WEIGHTS])
    hub.fault(WEIGHTS, Stall(size // 2))
    with running_server(models, *options) as server:
        begun = httpx.post(f"{server.url}/admin/api/hf/download", json={"model": REPO})
        assert begun.status_code == 202
        next(tasks for tasks in follow(server.url) if (at := tasks[0]["progress"]) and at["done"] >= size // 2)
        (worker,) = [each for each in psutil.Process(server.pid).children() if "omlx.downloads.worker" in each.cmdline()]
        os.kill(server.pid, signal.SIGKILL)
        worker.wait(10)
    assert [each.name for each in models.iterdir()] == [f".pull-{NAME}"]
    hub.may_go_on.set()

    with running_server(models, *options) as server:
        (task,) = next(tasks for tasks in follow(server.url) if tasks[0]["state"] == "done")
        assert task["id"] == begun.json()["id"]
        assert hub.asked(WEIGHTS)[-1].headers["Range"] == f"bytes={size // 2}-"
        question = [{"role": "user", "content": "What is the capital of France?"}]
        answer = httpx.post(
            f"{server.url}/v1/chat/completions", json={"model": NAME, "messages": question, "temperature": 0}, timeout=60
        )
        assert answer.json()["choices"][0]["message"]["content"] == "The capital of France is Paris."
