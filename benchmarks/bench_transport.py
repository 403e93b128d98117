"""What travelling costs: deltas a second from an engine's process to a consumer like the ingress, without a model.

    python -m benchmarks.bench_transport [--tokenizer MODEL_FOLDER] [--short] [--save]

A real engine behind Ray, whose runner has every token at once. `raw` counts the items as they come out of Ray, `deltas`
what each request's loop gets from `omlx.connection`, and `in process` is the same without Ray: engine and consumer on one
event loop. A runner without a pace is faster than everything behind it, so steps gather and items grow: that is a ceiling.
`paced` is what a client would see: a little more than is wanted, at an even pace, and the gaps between the items they come in.
With a tokenizer, the engine turns real tokens into text.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from typing import Any

from actors.contracts import (
    EmbedJob,
    EngineClient,
    EngineInfo,
    EngineOptions,
    EngineSpec,
    EngineUsage,
    Job,
    RerankJob,
    Scores,
    StepItem,
    TokenPrompt,
    Vectors,
)
from actors.control import CatalogConfig
from actors.engine.engine import Engine
from actors.logs import LogConfig
from actors.models import ModelInfo
from actors.runtime import RayRuntime, RuntimeConfig
from benchmarks.instant import CONTEXT, INSTANT_BACKEND, load_backend
from benchmarks.report import finish, new_document, table
from benchmarks.stats import percentile
from omlx.connection import EngineConnection
from scheduler.sampling import SamplingParams

STREAMS = (1, 8, 64)
WANTED = 20_000  # deltas a second at 64 streams
PACE = 25_000  # deltas a second that the paced runner makes, above what is wanted
_ids = count()


@dataclass(frozen=True, slots=True)
class Flow:
    """What arrived in one run, per second from the first arrival to the last.

    Attributes:
        per_item: Deltas in an item of the stream.
        gap_p50, gap_p99: Milliseconds between the arrivals of two items.
        consumer_load: The share of one core that the consumer's process took.
    """

    deltas_per_second: float
    items_per_second: float
    per_item: float
    gap_p50: float
    gap_p99: float
    consumer_load: float


class Observed:
    """An engine's client that notes when each item of its stream came."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self.arrivals: list[float] = []

    async def load(self) -> EngineInfo:
        return await self._client.load()

    async def submit(self, consumer: str, job: Job) -> int:
        return await self._client.submit(consumer, job)

    async def abort(self, request_ids: Sequence[str]) -> None:
        await self._client.abort(request_ids)

    async def stream(self, consumer: str) -> AsyncIterator[bytes]:
        async for item in self._client.stream(consumer):
            self.arrivals.append(time.perf_counter())
            yield item

    async def closed(self) -> None:
        await self._client.closed()

    async def usage(self) -> EngineUsage:
        return await self._client.usage()

    async def retire(self, *, only_if_idle: bool = False) -> bool:
        return await self._client.retire(only_if_idle=only_if_idle)

    async def idle(self) -> None:
        await self._client.idle()

    async def configure(self, options: EngineOptions) -> None:
        await self._client.configure(options)

    async def count(self, job: Job) -> int:
        return await self._client.count(job)

    async def embed(self, job: EmbedJob) -> Vectors:
        return await self._client.embed(job)

    async def rerank(self, job: RerankJob) -> Scores:
        return await self._client.rerank(job)


def jobs(streams: int, tokens: int) -> list[Job]:
    """Requests that say so many tokens."""
    return [
        Job(f"chatcmpl-{next(_ids):024x}", TokenPrompt((1,)), SamplingParams(temperature=0.0), tokens) for _ in range(streams)
    ]


async def through_connection(client: EngineClient, streams: int, tokens: int) -> Flow:
    """Deltas as each request's loop gets them from `EngineConnection`."""
    observed = Observed(client)
    connection = EngineConnection(
        "instant", observed, f"bench-{next(_ids)}", lambda _before, _after: None, lambda _connection: None
    )
    deltas = received = 0

    async def consume(job: Job) -> None:
        nonlocal deltas, received
        answer = await connection.submit(job)
        async for delta in answer:
            deltas += 1
            received += delta.tokens
        await answer.close()

    busy, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(consume(job) for job in jobs(streams, tokens)))
    ended = time.perf_counter()
    load = (time.process_time() - busy) / (ended - began)
    await connection.close()
    _check(received, streams * tokens)
    return _flow(observed.arrivals[1:], ended, deltas, load)  # the first, empty, says that the stream is open


async def raw(client: EngineClient, streams: int, tokens: int) -> Flow:
    """Items as they come out of the stream; they are decoded after the time has been taken."""
    consumer = f"bench-{next(_ids)}"
    stream = client.stream(consumer)
    await anext(stream)  # empty: the stream is open
    sent = jobs(streams, tokens)
    busy = time.process_time()
    submitting = asyncio.gather(*(client.submit(consumer, job) for job in sent))
    items: list[bytes] = []
    arrivals: list[float] = []
    left = streams
    while left:
        items.append(await anext(stream))
        arrivals.append(time.perf_counter())
        left -= items[-1].count(b'"length"')
    load = (time.process_time() - busy) / (arrivals[-1] - arrivals[0])
    await submitting
    if isinstance(stream, AsyncGenerator):
        await stream.aclose()
    deltas = [delta for item in items for delta in StepItem.decode(item).deltas]
    _check(sum(delta.tokens for delta in deltas), streams * tokens)
    return _flow(arrivals, arrivals[-1], len(deltas), load)


def _check(received: int, wanted: int) -> None:
    if received != wanted:
        raise RuntimeError(f"{received} of {wanted} tokens arrived")


def _flow(arrivals: Sequence[float], ended: float, deltas: int, load: float) -> Flow:
    seconds = ended - arrivals[0]
    gaps = [(later - earlier) * 1000 for earlier, later in pairwise(arrivals)]
    return Flow(
        deltas_per_second=deltas / seconds,
        items_per_second=len(arrivals) / seconds,
        per_item=deltas / len(arrivals),
        gap_p50=percentile(gaps, 50) or 0.0,
        gap_p99=percentile(gaps, 99) or 0.0,
        consumer_load=load,
    )


WAYS = {"raw": raw, "deltas": through_connection}


async def measure(client: Any, cases: Sequence[tuple[str, int]], rounds: int, tokens: int) -> list[dict[str, Any]]:
    """Every case, a way and a number of streams, in turn; the medians of the rounds."""
    await client.load()
    await through_connection(client, 8, 200)  # warms everything up
    flows: dict[tuple[str, int], list[Flow]] = {case: [] for case in cases}
    for _ in range(rounds):
        for (way, streams), measured in flows.items():
            measured.append(await WAYS[way](client, streams, tokens))
    return [
        {"way": way, "streams": streams}
        | {key: round(median(asdict(flow)[key] for flow in measured), 2) for key in asdict(measured[0])}
        for (way, streams), measured in flows.items()
    ]


async def in_process(spec: EngineSpec, rounds: int, tokens: int) -> list[dict[str, Any]]:
    """Engine and consumer in this process, on one event loop."""
    engine = Engine(spec, load_backend, on_broken=print)
    rows = await measure(engine, [("deltas", streams) for streams in STREAMS], rounds, tokens)
    await engine.stop()
    return [row | {"way": "in process"} for row in rows]


async def behind_ray(
    runtime: RayRuntime, spec: EngineSpec, cases: Sequence[tuple[str, int]], rounds: int, tokens: int
) -> list[dict[str, Any]]:
    """The engine in a process of its own."""
    host = runtime.engines()
    client = await host.start(spec)
    try:
        return await measure(client, cases, rounds, tokens)
    finally:
        await host.kill(spec.engine_id)


async def paced(runtime: RayRuntime, spec: EngineSpec, rounds: int, tokens: int) -> list[dict[str, Any]]:
    """The most streams, from a runner that makes a little more than is wanted."""
    streams = max(STREAMS)
    microseconds = str(round(streams / PACE * 1e6))
    spec = replace(spec, engine_id="paced", model=replace(spec.model, model_id=microseconds))
    rows = await behind_ray(runtime, spec, [("deltas", streams)], rounds, tokens)
    return [row | {"way": "paced"} for row in rows]


@contextmanager
def ray_runtime() -> Iterator[RayRuntime]:
    """A private runtime whose processes can import the benchmarks."""
    root = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="omlx-bench-") as folder:
        work = Path(folder)
        runtime = RayRuntime(RuntimeConfig(work_dir=work, logs=LogConfig(work / "logs")), CatalogConfig((work,)))
        try:
            runtime.start()
            yield runtime
        finally:
            runtime.stop()
            os.chdir(here)


def main() -> int:
    """Measure, print, and say whether it is enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, help="a model's folder, whose tokenizer makes the text")
    parser.add_argument("--tokens", type=int, help="of each stream; default 2000, or 300 when short")
    parser.add_argument("--rounds", type=int, help="default 3, or 1 when short")
    parser.add_argument("--short", action="store_true", help="one round of few tokens")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    tokens = options.tokens or (300 if options.short else 2000)
    rounds = options.rounds or (1 if options.short else 3)
    folder = options.tokenizer.absolute() if options.tokenizer else Path("/nowhere")
    text_by = folder.name if options.tokenizer else "a trivial tokenizer"
    model = ModelInfo("instant", folder, architecture="instant", context_length=CONTEXT)
    spec = EngineSpec("bench", model, EngineOptions(max(STREAMS)), INSTANT_BACKEND)
    document = new_document("transport", tokens=tokens, rounds=rounds, tokenizer=text_by)
    ways = [(way, streams) for streams in STREAMS for way in WAYS]
    with ray_runtime() as runtime:
        rows = asyncio.run(behind_ray(runtime, spec, ways, rounds, tokens))
        rows += asyncio.run(paced(runtime, spec, rounds, tokens))
    rows += asyncio.run(in_process(spec, rounds, tokens))
    document["results"] = rows
    ceiling = next(row["deltas_per_second"] for row in rows if row["way"] == "deltas" and row["streams"] == max(STREAMS))
    even = next(row["deltas_per_second"] for row in rows if row["way"] == "paced")
    document |= {"deltas_per_second_at_64": ceiling, "paced_deltas_per_second_at_64": even}
    text = f"Text by {text_by}, {tokens} tokens a stream, {rounds} rounds; gaps between items in milliseconds\n\n"
    keys = ["way", "streams", "deltas_per_second", "items_per_second", "per_item", "gap_p50", "gap_p99", "consumer_load"]
    header = ["way", "streams", "deltas/s", "items/s", "deltas/item", "gap p50", "p99", "consumer"]
    text += table(header, [[row[key] for key in keys] for row in rows])
    text += f"\n\n{max(STREAMS)} streams: {ceiling:,.0f} deltas/s at most, {even:,.0f} of {PACE:,} paced; {WANTED:,} are wanted"
    finish(document, text, keep=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
