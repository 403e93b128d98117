"""How many texts a second are embedded over HTTP: by one client and by many, of our server and of mlx-vlm's own.

    python -m benchmarks.bench_embeddings [MODEL_FOLDER] [--clients 1,32] [--compare] [--rounds 3] [--seconds 10] [--save]

Each client sends a text, waits for its vector, and sends the next. Texts are of mixed lengths, the same for both servers, which have
the same BLAS and take turns, in an order that is reversed each round. A figure is the median over the rounds.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import orjson

from benchmarks.embedding_model import embedding_model
from benchmarks.peers import OURS, Target, blas_environment, in_turn
from benchmarks.report import finish, new_document, table
from benchmarks.server import Command, free_port, running, running_server
from benchmarks.stats import percentile

THEIRS = "mlx-vlm"
FASTER_TOGETHER = 3.0  # times as many texts a second from many clients as from one, at the least
AS_FAST = 1.0  # times as many as mlx-vlm's server, at the least
_WARM_SECONDS = 2.0
_WORDS = (
    "river stone light engine garden winter letter machine silver music harbour forest question answer memory number "
    "window morning teacher bridge mountain village history science market weather travel kitchen animal planet"
).split()


@dataclass(frozen=True, slots=True)
class Flow:
    """What some clients got in some seconds.

    Attributes:
        texts_per_second: Answers.
        p50, p95: Seconds from a request to its answer.
        client_load: The share of one core that the clients took.
    """

    texts_per_second: float
    p50: float
    p95: float
    client_load: float


def texts(seed: int, words: int) -> Iterator[str]:
    """Texts without end, half of them of fewer words than given and a few of many times as many."""
    chance = random.Random(seed)
    while True:
        yield " ".join(chance.choices(_WORDS, k=min(100, max(3, int(chance.lognormvariate(log(words), 0.6))))))


@contextmanager
def ours(folder: Path) -> Iterator[Target]:
    """Our server."""
    with running_server(folder.parent, "--no-hf-cache") as server:
        yield Target(server, folder.name)


@contextmanager
def theirs(folder: Path) -> Iterator[Target]:
    """mlx-vlm's own server."""
    port = free_port()
    arguments = [sys.executable, "-m", "mlx_vlm.server", "--host", "127.0.0.1", "--port", str(port)]
    command = Command([*arguments, "--embedding-model", str(folder)], port, blas_environment())
    with tempfile.TemporaryDirectory(prefix="omlx-peer-") as logs, running(command, Path(logs) / "serve.log") as server:
        yield Target(server, str(folder))


PEERS = {OURS: ours, THEIRS: theirs}


class Connection:
    """A kept connection that asks for one vector after the other; it costs little while a server is measured."""

    def __init__(self, url: str, model: str) -> None:
        self._address = urlsplit(url).netloc
        self._model = model

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Connection"]:
        """Connect, and close at the end."""
        host, _, port = self._address.partition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
        try:
            yield self
        finally:
            self._writer.close()

    async def embed(self, text: str) -> list[float]:
        """A text's vector. Raises `RuntimeError` with the server's words where there is none."""
        body = orjson.dumps({"model": self._model, "input": text})
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {self._address}\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status, *headers = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(line.partition(b":")[2]) for line in headers if line.startswith(b"content-length:"))
        answer = await self._reader.readexactly(length)
        if status.split()[1] != b"200":
            raise RuntimeError(f"the server does not embed: {answer.decode()}")
        vector: list[float] = orjson.loads(answer)["data"][0]["embedding"]
        return vector


async def drive(target: Target, clients: int, options: argparse.Namespace, seed: int) -> Flow:
    """So many clients for some seconds, after some more that don't count."""
    latencies: list[float] = []
    warm_until = time.monotonic() + _WARM_SECONDS
    until = warm_until + options.seconds

    async def one_client(number: int) -> None:
        async with Connection(target.server.url, target.model).open() as connection:
            for text in texts(seed * 1000 + number, options.words):
                sent = time.monotonic()
                if sent >= until:
                    return
                await connection.embed(text)
                done = time.monotonic()
                if warm_until <= done < until:
                    latencies.append(done - sent)

    busy, began = time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(one_client(number))
    load = (time.process_time() - busy) / (time.monotonic() - began)
    return Flow(len(latencies) / options.seconds, percentile(latencies, 50) or 0.0, percentile(latencies, 95) or 0.0, load)


async def measure(target: Target, options: argparse.Namespace, seed: int) -> tuple[dict[int, Flow], list[float]]:
    """A server under each load; and one text's vector, to be compared."""
    async with Connection(target.server.url, target.model).open() as connection:
        vector = await connection.embed(next(texts(0, options.words)))
    return {each: await drive(target, each, options, seed) for each in options.clients}, vector


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors."""
    norms = [sum(x * x for x in vector) ** 0.5 for vector in (one, other)]
    return float(sum(x * y for x, y in zip(one, other, strict=True)) / norms[0] / norms[1])


def report(document: dict[str, Any]) -> str:
    """The result for people."""
    header = ["clients", "server", "texts/s", "p50 s", "p95 s", "client"]
    keys = ["clients", "server", "texts_per_second", "p50", "p95", "client_load"]
    settings = document["settings"]
    text = f"{settings['model']}, a text a request, half of them up to {settings['words']} words, "
    text += f"{settings['rounds']} round(s) of {settings['seconds']:g} s\n\n"
    text += table(header, [[row[key] for key in keys] for row in document["results"]])
    most = max(settings["clients"])
    text += f"\n\n{most} clients together get {document['together']:.2f} times what one gets (at least {FASTER_TOGETHER:g} is wanted)."
    for clients, ratio in document["ratios"].items():
        text += f"\nAt {clients}, ours embeds {ratio:.2f} times as many as mlx-vlm's server (at least {AS_FAST:g} is wanted)."
    if document["cosine"] is not None:
        text += f"\nThe cosine of both servers' vectors of one text is {document['cosine']:.6f}."
    return text


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_folder", nargs="?", type=Path, help="one model's folder; all-MiniLM-L6-v2, fetched if need be")
    parser.add_argument("--clients", type=_integers, default=[1, 32], help="default 1,32")
    parser.add_argument("--compare", action="store_true", help="measure mlx-vlm's own server too")
    parser.add_argument(
        "--words", type=int, default=10, help="of half of the texts, at the most; default 10, as queries and sentences have"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load; default 10")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    folder = (options.model_folder or embedding_model(Path("~/.omlx/models").expanduser())).absolute()
    document = new_document(
        "embeddings",
        model=folder.name,
        words=options.words,
        clients=options.clients,
        rounds=options.rounds,
        seconds=options.seconds,
    )
    peers = [OURS, *([THEIRS] if options.compare else [])]
    flows: dict[tuple[int, str], list[Flow]] = {(clients, peer): [] for clients in options.clients for peer in peers}
    vectors = {}
    for round_number, peer in in_turn(peers, options.rounds):
        with PEERS[peer](folder) as target:
            found, vectors[peer] = asyncio.run(measure(target, options, round_number))
        for clients, flow in found.items():
            flows[clients, peer].append(flow)
    fields = ("texts_per_second", "p50", "p95", "client_load")
    middle = {key: {name: median(getattr(flow, name) for flow in each) for name in fields} for key, each in flows.items()}
    rate = {key: each["texts_per_second"] for key, each in middle.items()}
    document |= {
        "results": [{"clients": clients, "server": peer} | each for (clients, peer), each in middle.items()],
        "together": rate[max(options.clients), OURS] / rate[min(options.clients), OURS],
        "ratios": {clients: rate[clients, OURS] / rate[clients, THEIRS] for clients in options.clients}
        if options.compare
        else {},
        "cosine": cosine(vectors[OURS], vectors[THEIRS]) if options.compare else None,
    }
    finish(document, report(document), keep=options.save)
    return 0


def _integers(value: str) -> list[int]:
    return [int(part) for part in value.split(",")]


if __name__ == "__main__":
    sys.exit(main())
