"""A static-batching server to compare with: requests wait for a batch, and nobody joins it before its last answer ends.

    python -m benchmarks.static_server MODEL_FOLDER PORT BATCH

It computes with the same runner as ours. A batch is taken when it is full, or a moment after its first request. Rows that
end early leave the batch, which a simpler static server would not even do.
"""

import asyncio
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from actors.catalog.discovery import discover
from actors.contracts import ChatPrompt, Job, ModelInfo
from actors.engine.backend import Backend
from actors.engine.text import AnswerText, encode_prompt
from scheduler.core import EngineCore
from scheduler.request import FinishReason, Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig
from scheduler.step import TokenEvent

_GATHER_SECONDS = 0.05  # how long a batch that isn't full waits for more, from its first request on


@dataclass(slots=True)
class Waiting:
    """A request and the queue of its events, as bytes; None ends them. Belongs to the event loop `loop`."""

    job: Job
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    def send(self, event: bytes | None) -> None:
        """Hand over an event, from any thread."""
        self.loop.call_soon_threadsafe(self.events.put_nowait, event)


@dataclass(slots=True)
class Row:
    """A request in the batch."""

    waiting: Waiting
    text: AnswerText
    prompt_tokens: int
    completion_tokens: int = 0

    def take(self, event: TokenEvent) -> None:
        """Send on what a step brought."""
        self.completion_tokens += 1
        text = "" if event.finish_reason is FinishReason.STOP else self.text.add(event.token)
        if event.finish_reason is not None:
            text += self.text.finish()
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": event.finish_reason}
        self.waiting.send(_sse({"choices": [choice]}))
        if event.finish_reason is not None:
            usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
            self.waiting.send(_sse({"choices": [], "usage": usage}))
            self.waiting.send(b"data: [DONE]\n\n")
            self.waiting.send(None)


class StaticBatcher(threading.Thread):
    """The thread that has the model: it takes a batch of requests, runs it to its end, and takes the next."""

    def __init__(self, model: ModelInfo, size: int) -> None:
        super().__init__(name="static-batcher", daemon=True)
        self.inbox: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self.loaded = threading.Event()
        self._model = model
        self._size = size

    def run(self) -> None:
        """Load, then answer batch after batch."""
        from actors.engine.loader import load_backend

        backend = load_backend(self._model)
        self.loaded.set()
        while True:
            run_batch(backend, list(self._gather()), self._size)

    def _gather(self) -> Iterator[Waiting]:
        yield self.inbox.get()
        deadline = time.monotonic() + _GATHER_SECONDS
        for _ in range(self._size - 1):
            try:
                yield self.inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return


def run_batch(backend: Backend, batch: list[Waiting], size: int) -> None:
    """Answer a batch, from its prompts to the end of its longest answer."""
    core = EngineCore(backend.runner, SchedulerConfig(max_num_seqs=size, max_decode_stall=backend.max_decode_stall))
    rows: dict[str, Row] = {}
    for waiting in batch:
        prompt = encode_prompt(backend.tokenizer, backend.vocabulary, waiting.job)
        request_id = waiting.job.request_id
        rows[request_id] = Row(waiting, AnswerText(backend.tokenizer, ()), len(prompt))
        core.add(Request(request_id, prompt, waiting.job.max_tokens or 1, backend.stop_token_ids, waiting.job.sampling))
    while core.has_work:
        for event in core.step().events:
            rows[event.request_id].take(event)


def make_app(batcher: StaticBatcher) -> Starlette:
    """The application: streamed chats and `/health`."""

    async def chat(request: HttpRequest) -> Response:
        body = orjson.loads(await request.body())
        sampling = SamplingParams(temperature=body.get("temperature", 1.0))
        job = Job(uuid4().hex, ChatPrompt(tuple(body["messages"])), sampling, body["max_tokens"])
        waiting = Waiting(job, asyncio.get_running_loop())
        batcher.inbox.put(waiting)
        return StreamingResponse(_events(waiting), media_type="text/event-stream")

    async def health(_request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        batcher.start()
        await asyncio.to_thread(batcher.loaded.wait)
        yield

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"]), Route("/health", health)], lifespan=lifespan)


async def _events(waiting: Waiting) -> AsyncIterator[bytes]:
    while (event := await waiting.events.get()) is not None:
        yield event


def _sse(event: dict[str, object]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"


def main() -> None:
    """Serve one model."""
    folder, port, size = Path(sys.argv[1]).absolute(), int(sys.argv[2]), int(sys.argv[3])
    model = discover((folder.parent,))[folder.name]
    uvicorn.run(make_app(StaticBatcher(model, size)), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
