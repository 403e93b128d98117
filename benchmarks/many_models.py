"""Many models, and room for a few: clients who pick models at random, and a catalog that lets engines come and go.

    python -m benchmarks.many_models [--seconds 120] [--models 20] [--room 4] [--clients 16] [--save]

Twenty copies of a small random model stand in a folder, and the server may use the memory of four. Each client asks a model that
it picks at random, streaming or not, and then another one. A request may be turned away with 429 or 507, whose client comes again;
anything else that isn't a whole answer is wrong. Meanwhile the memory that the catalog reserves and measures is read twice a
second, and what the engines' processes hold by /proc, and all must stay within the budget. When the server has ended, none of its
processes may be left. What is wrong makes the exit code 1. Linux only.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from benchmarks.peers import family
from benchmarks.report import finish, new_document, table
from benchmarks.server import demo_model_dir, running_server
from benchmarks.stats import percentile

KV_BYTES = 4 << 20
OPTIONS = ("--kv-cache-max-bytes", str(KV_BYTES), "--no-hf-cache")
TURNED_AWAY = (429, 507)
_AGAIN_SECONDS = 0.5  # until a client that was turned away without a time comes again
_LOOK_SECONDS = 0.5
_PATIENCE = 90.0  # seconds that a client waits for an answer
_GONE_SECONDS = 5.0  # after the server's end, in which its processes have to be gone


@dataclass(slots=True)
class Seen:
    """What happened.

    Attributes:
        outcomes: Requests, by what became of them.
        seconds: What each whole answer took.
        wrong: What should not have been, a line each.
        processes: The server's, and what each called itself when it was last seen.
        most_engines, most_reserved, most_used, most_resident: The most at one time: engine processes, and bytes that the catalog
            promised, that engines reported, and that their processes held by /proc.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    processes: dict[int, str] = field(default_factory=dict)
    most_engines: int = 0
    most_reserved: int = 0
    most_used: int = 0
    most_resident: int = 0


def is_whole(status: int, body: bytes, *, stream: bool) -> bool:
    """Whether an answer is one from beginning to end."""
    if status != 200:
        return False
    return body.endswith(b"data: [DONE]\n\n") and b'"error"' not in body if stream else b'"finish_reason"' in body


def is_turned_away(status: int, body: bytes) -> bool:
    """Whether there was no room: said by the status, or within a stream that had been kept alive while others were waited for."""
    return status in TURNED_AWAY or (status == 200 and b'"code":"insufficient_memory"' in body)


async def client(number: int, http: httpx.AsyncClient, models: list[str], ends: float, seen: Seen) -> None:
    """Ask one model after the other."""
    random = Random(number)
    while time.monotonic() < ends:
        stream = random.random() < 0.5
        body = {
            "model": random.choice(models),
            "messages": [{"role": "user", "content": f"Tell me of the number {random.randrange(1000)}."}],
            "max_tokens": random.randrange(1, 24),
            "stream": stream,
        }
        began = time.monotonic()
        try:
            answer = await http.post("/v1/chat/completions", json=body)
        except httpx.HTTPError as error:
            seen.outcomes["wrong"] += 1
            seen.wrong.append(f"{body['model']}: {type(error).__name__}: {error}")
            continue
        if is_whole(answer.status_code, answer.content, stream=stream):
            seen.outcomes["answered"] += 1
            seen.seconds.append(time.monotonic() - began)
        elif is_turned_away(answer.status_code, answer.content):
            seen.outcomes["turned away"] += 1
            await asyncio.sleep(float(answer.headers.get("retry-after", _AGAIN_SECONDS)))
        else:
            seen.outcomes["wrong"] += 1
            seen.wrong.append(f"{body['model']}: {answer.status_code} {answer.text[:300]}")


async def look(http: httpx.AsyncClient, server: int, seen: Seen) -> None:
    """Read the memory again and again."""
    while True:
        memory = (await http.get("/v1/models/status")).json()["memory"]
        titles = {pid: title(pid) for pid in family(server)}
        seen.processes |= titles
        engines = {pid: resident_bytes(pid) for pid, name in titles.items() if "omlx engine" in name}
        seen.most_engines = max(seen.most_engines, len(engines))
        seen.most_reserved = max(seen.most_reserved, memory["reserved_bytes"])
        seen.most_used = max(seen.most_used, memory["used_bytes"])
        seen.most_resident = max(seen.most_resident, sum(engines.values()))
        for name in ("reserved_bytes", "used_bytes"):
            if memory[name] > memory["budget_bytes"]:
                seen.wrong.append(f"{name} is {memory[name]}, above the budget of {memory['budget_bytes']}")
        await asyncio.sleep(_LOOK_SECONDS)


def title(pid: int) -> str:
    """What a process calls itself; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def resident_bytes(pid: int) -> int:
    """What a process holds in memory; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@contextmanager
def many_models(count: int, tokenizer: Path) -> Iterator[Path]:
    """A folder with so many models, the weights of one on disk."""
    with tempfile.TemporaryDirectory(prefix="omlx-many-") as made:
        folder = Path(made)
        first = folder / "model-00"
        arguments = [str(first), "--shape", "tiny", "--dtype", "float32", "--tokenizer", str(tokenizer)]
        subprocess.run([sys.executable, "-m", "benchmarks.random_model", *arguments], check=True)
        for number in range(1, count):
            another = folder / f"model-{number:02}"
            another.mkdir()
            for file in first.iterdir():
                (another / file.name).hardlink_to(file)
        yield folder


def reserved_by_one(models: Path) -> int:
    """Bytes that the catalog reserves for one of the models."""
    with running_server(models, *OPTIONS) as server, httpx.Client(base_url=server.url, timeout=_PATIENCE) as http:
        http.post("/v1/models/model-00/load").raise_for_status()
        memory = http.get("/v1/models/status").json()["memory"]
        return int(memory["reserved_bytes"])


async def measure(url: str, server: int, models: list[str], options: argparse.Namespace) -> Seen:
    """Let the clients loose."""
    seen = Seen()
    limits = httpx.Limits(max_connections=options.clients + 2)
    async with httpx.AsyncClient(base_url=url, timeout=_PATIENCE, limits=limits) as http:
        looking = asyncio.create_task(look(http, server, seen))
        ends = time.monotonic() + options.seconds
        await asyncio.gather(*(client(number, http, models, ends, seen) for number in range(options.clients)))
        looking.cancel()
        (outcome,) = await asyncio.gather(looking, return_exceptions=True)
        if not isinstance(outcome, asyncio.CancelledError):
            seen.wrong.append(f"the status could not be read: {outcome}")
    return seen


def left(processes: dict[int, str]) -> list[str]:
    """Of a server's processes, those that are still there after its end, by name."""
    ends = time.monotonic() + _GONE_SECONDS
    while (alive := [name for pid, name in processes.items() if name and title(pid) == name]) and time.monotonic() < ends:
        time.sleep(0.1)
    return alive


def main() -> int:
    """Run, print, and say whether all was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="default 120")
    parser.add_argument("--models", type=int, default=20, help="default 20")
    parser.add_argument("--room", type=int, default=4, help="how many of them there is memory for; default 4")
    parser.add_argument("--clients", type=int, default=16, help="default 16")
    parser.add_argument("--tokenizer", type=Path, help="whose tokenizer the models get; the demo model, fetched if need be")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    document = new_document(
        "many_models", seconds=options.seconds, models=options.models, room=options.room, clients=options.clients, kv=KV_BYTES
    )
    with many_models(options.models, options.tokenizer or demo_model_dir() / "SmolLM2-135M-Instruct") as folder:
        budget = int((options.room + 0.5) * reserved_by_one(folder))
        names = [f"model-{number:02}" for number in range(options.models)]
        with running_server(folder, *OPTIONS, "--max-process-memory", str(budget)) as server:
            seen = asyncio.run(measure(server.url, server.pid, names, options))
    seen.wrong += [f"left behind: {name}" for name in left(seen.processes)]
    if seen.most_engines > options.room:
        seen.wrong.append(f"{seen.most_engines} engines at a time, in the room of {options.room}")
    figures: dict[str, Any] = {
        "budget": budget,
        "answer p50": percentile(seen.seconds, 50),
        "answer p95": percentile(seen.seconds, 95),
        "engines seen": sum("omlx engine" in name for name in seen.processes.values()),
    } | {name: value for name, value in asdict(seen).items() if name.startswith("most_")}
    document |= {"outcomes": dict(seen.outcomes), "figures": figures, "wrong": seen.wrong}
    rows: list[list[object]] = [[name, value] for name, value in (*sorted(seen.outcomes.items()), *figures.items())]
    text = f"{options.clients} clients for {options.seconds:g} s, {options.models} models, room for {options.room}\n\n"
    text += table(["what", "figure"], rows) + "\n"
    text += "\n".join(["", *(f"Wrong: {line}" for line in seen.wrong[:20])]) if seen.wrong else "\nAll was right."
    finish(document, text, keep=options.save)
    return 1 if seen.wrong or not seen.outcomes["answered"] else 0


if __name__ == "__main__":
    sys.exit(main())
