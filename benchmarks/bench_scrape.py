"""What being watched costs: tokens a second of many streams, while `/metrics` is scraped and while it isn't, in turn.

    python -m benchmarks.bench_scrape [MODEL_FOLDER] [--streams 64] [--interval 5] [--window 10] [--pairs 12] [--short] [--save]

The model is tiny and random unless a folder is given: its steps cost little, so the server's own work is what bounds the streams,
and what a scrape takes of it shows. Windows with and without scrapes follow each other as A B B A, so that what drifts (the
contexts grow) hits both alike. The cost is one less the ratio of the tokens in all windows with scrapes to those in all without.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from benchmarks.client import Recording
from benchmarks.endless import keep_streaming
from benchmarks.report import finish, new_document, table
from benchmarks.server import demo_model_dir, running_server
from benchmarks.stats import percentile

WANTED = 0.01  # of the throughput, at the most
_WARM_SECONDS = 5.0
_TOKENS = 4_000  # of an answer; then the stream begins anew


@dataclass(frozen=True, slots=True)
class Window:
    """Some seconds of all streams, with scrapes or without."""

    scraped: bool
    seconds: float
    tokens: int


@contextmanager
def folder_of(model: Path | None) -> Iterator[tuple[Path, str]]:
    """A folder of models, and the model in it to ask."""
    if model is not None:
        yield model.parent, model.name
        return
    tokenizer = demo_model_dir() / "SmolLM2-135M-Instruct"
    with tempfile.TemporaryDirectory(prefix="omlx-scrape-") as folder:
        arguments = [f"{folder}/tiny", "--shape", "tiny", "--dtype", "float32", "--tokenizer", str(tokenizer)]
        subprocess.run([sys.executable, "-m", "benchmarks.random_model", *arguments], check=True)
        yield Path(folder), "tiny"


async def scrape(http: httpx.AsyncClient, interval: float, until: float, seconds: list[float]) -> None:
    """Scrape at an interval until a time, the first time at once."""
    while (began := time.monotonic()) < until:
        (await http.get("/metrics")).raise_for_status()
        seconds.append(time.monotonic() - began)
        await asyncio.sleep(min(began + interval, until) - time.monotonic())


async def measure(url: str, model: str, options: argparse.Namespace) -> tuple[list[Window], list[float]]:
    """Every window's tokens, and how long each scrape took."""
    recordings: list[Recording] = []
    scrapes: list[float] = []
    windows: list[tuple[bool, float, float]] = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as http, asyncio.TaskGroup() as group:
        streams = [
            group.create_task(keep_streaming(url, model, number, _TOKENS, recordings)) for number in range(options.streams)
        ]
        while sum(bool(each.pieces) for each in recordings) < options.streams:  # noqa: ASYNC110 - it is the server that is waited for
            await asyncio.sleep(0.1)
        await asyncio.sleep(_WARM_SECONDS)
        for pair in range(options.pairs):
            for watched in (False, True) if pair % 2 else (True, False):
                began = time.monotonic()
                if watched:
                    await scrape(http, options.interval, began + options.window, scrapes)
                else:
                    await asyncio.sleep(options.window)
                windows.append((watched, began, time.monotonic()))
        for stream in streams:
            stream.cancel()
    arrivals = sorted(at for each in recordings if each.pieces for at in each.read().arrivals)

    def between(began: float, ended: float) -> int:
        return bisect_left(arrivals, ended) - bisect_left(arrivals, began)

    return [Window(watched, ended - began, between(began, ended)) for watched, began, ended in windows], scrapes


def rate(windows: list[Window], *, scraped: bool) -> float:
    """Tokens a second in all windows of a kind."""
    chosen = [each for each in windows if each.scraped == scraped]
    return sum(each.tokens for each in chosen) / sum(each.seconds for each in chosen)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a model's folder; by default a tiny random model is made")
    parser.add_argument("--streams", type=int, default=64, help="default 64")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds from one scrape to the next; default 5")
    parser.add_argument("--window", type=float, default=10.0, help="seconds of each window; default 10")
    parser.add_argument("--pairs", type=int, default=12, help="windows of each kind; default 12")
    parser.add_argument("--short", action="store_true", help="two pairs of 2 s, a scrape a second")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    if options.short:
        options.window, options.pairs, options.interval = 2.0, 2, 1.0
    with folder_of(options.model) as (folder, model):
        document = new_document(
            "scrape", model=model, streams=options.streams, interval=options.interval, window=options.window, pairs=options.pairs
        )
        batch = ("--max-concurrent-requests", str(options.streams))
        with running_server(folder, "--no-hf-cache", *batch) as server:
            windows, scrapes = asyncio.run(measure(server.url, model, options))
    without, scraped = rate(windows, scraped=False), rate(windows, scraped=True)
    figures = {
        "tokens_per_second": without,
        "tokens_per_second_scraped": scraped,
        "cost": 1 - scraped / without,
        "scrapes": len(scrapes),
        "scrape_p50": percentile(scrapes, 50),
        "scrape_p95": percentile(scrapes, 95),
    }
    document |= {"figures": figures, "windows": [asdict(each) for each in windows]}
    text = f"{options.streams} streams, /metrics scraped every {options.interval:g} s and not, in turn\n\n"
    text += table(["what", "figure"], [[name, value] for name, value in figures.items()])
    text += f"\n\nA cost of less than {WANTED:.0%} is wanted; it was {figures['cost']:.2%}."
    finish(document, text, keep=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
