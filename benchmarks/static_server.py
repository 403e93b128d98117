"""A static-batching server to compare with: requests wait for a batch, and nobody joins it before its last answer ends.

    python -m benchmarks.static_server MODEL_FOLDER PORT BATCH

It computes with the same runner as ours. A batch is taken when it is full, or a moment after its first request. Rows that
end early leave the batch, which a simpler static server would not even do.
"""

import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from actors.engine.backend import Backend
from benchmarks.model_folder import model_in
from benchmarks.thin_server import Ask, Token, serve
from scheduler.core import EngineCore
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig

_GATHER_SECONDS = 0.05  # how long a batch that isn't full waits for more, from its first request on


def generate(folder: Path, size: int, work: "Connection[list[Token] | None, Ask]") -> None:
    """Take a batch of requests, run it to its end, and take the next."""
    from actors.engine.loader import load_backend

    backend = load_backend(model_in(folder))
    work.send(None)
    while True:
        run_batch(backend, list(_gather(work, size)), work)


def run_batch(backend: Backend, batch: list[Ask], work: "Connection[list[Token] | None, Ask]") -> None:
    """Answer a batch, from its prompts to the end of its longest answer."""
    core = EngineCore(backend.runner, SchedulerConfig(max_num_seqs=len(batch), max_decode_stall=backend.max_decode_stall))
    for ask in batch:
        stop = frozenset() if ask.ignore_eos else backend.stop_token_ids
        core.add(Request(str(ask.number), ask.prompt, ask.max_tokens, stop, SamplingParams(temperature=0.0)))
    while core.has_work:
        events = core.step().events
        if events:
            work.send([(int(e.request_id), e.token, e.finish_reason.value if e.finish_reason else None) for e in events])


def _gather(work: "Connection[list[Token] | None, Ask]", size: int) -> Iterator[Ask]:
    yield work.recv()
    deadline = time.monotonic() + _GATHER_SECONDS
    for _ in range(size - 1):
        if not work.poll(max(0.0, deadline - time.monotonic())):
            return
        yield work.recv()


if __name__ == "__main__":
    serve(generate)
