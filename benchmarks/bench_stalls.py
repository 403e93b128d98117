"""How long running answers wait for others' prompts: over HTTP, of our server or of several, and of the engine core alone.

    python -m benchmarks.bench_stalls [MODEL_FOLDER] [--short] [--compare mlx-lm] [--save]

`prefill`: answers stream, and a long prompt comes. Their gaps while it is computed, beside their gaps before.
`join`: four sequences with long contexts run, and a short request comes and goes. The longest gap that they see, in steps.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.client import Recording, greedy, record
from benchmarks.core import Core, load_core
from benchmarks.peers import OURS, PEERS, Target, add_options, folder_to_serve, in_turn
from benchmarks.report import finish, new_document, table
from benchmarks.stats import percentile
from benchmarks.workloads import model_counter
from omlx.benchmark.prose import Writer

PARTS = ("http", "core", "join")
SETTLE = 4  # tokens of each answer until all are taken to be running evenly
BEFORE = 32  # tokens of each that are undisturbed then
_RUNNING_PROMPT, _RUNNING_ANSWER = 64, 1024  # tokens of the answers that run; they are broken off
_LONG_ANSWER = 4  # tokens after the long prompt, so that its row has joined the batch when the measurement ends
_PATIENCE = 300  # seconds
ROWS = 4  # that a short request joins
_OWN = 32  # tokens that are each row's own, behind a beginning that is computed once
_JOIN_PROMPT, _JOIN_ANSWER = 32, 8
_JOIN_BEFORE = 16  # undisturbed steps before each
_AFTER = 4  # steps after it has left
_ROOM = 256  # tokens of the context that are left for answers


@dataclass(frozen=True, slots=True)
class Stall:
    """The gaps of running answers, in seconds, without a long prompt among them and with it.

    Attributes:
        ratio: Of the 99th percentiles.
        long_ttft: What the long prompt's own first token took.
    """

    p50: float
    p99: float
    with_p50: float
    with_p99: float
    with_max: float
    ratio: float
    long_ttft: float


@dataclass(frozen=True, slots=True)
class Join:
    """What one short request did to running sequences.

    Attributes:
        step: The median gap before it came, seconds.
        longest: The longest gap while it was there.
        ratio: The longest in steps.
        ttft: Its own first token.
    """

    step: float
    longest: float
    ratio: float
    ttft: float


def gaps_within(arrivals: Sequence[Sequence[float]], begin: float, end: float) -> list[float]:
    """The gaps between neighbouring arrivals of each answer that lie in a stretch of time, or partly in it."""
    return [later - earlier for answer in arrivals for earlier, later in pairwise(answer) if later > begin and earlier < end]


def stall(arrivals: Sequence[Sequence[float]], sent: float, long: Sequence[float]) -> Stall:
    """What a long prompt did to running answers.

    Args:
        arrivals: When each of their tokens came.
        sent: When the long prompt came.
        long: When its own answer's tokens came.
    """
    settled = max(answer[SETTLE] for answer in arrivals)  # until then they disturb each other
    before = gaps_within([[at for at in answer if settled <= at <= sent] for answer in arrivals], settled, sent)
    during = gaps_within(arrivals, sent, long[-1])
    if not before or not during:
        raise RuntimeError("there was nothing that a long prompt could have disturbed")
    p99, with_p99 = percentile(before, 99) or 0.0, percentile(during, 99) or 0.0
    return Stall(
        p50=statistics.median(before),
        p99=p99,
        with_p50=statistics.median(during),
        with_p99=with_p99,
        with_max=max(during),
        ratio=with_p99 / p99,
        long_ttft=long[0] - sent,
    )


def core_stall(core: Core, streams: int, tokens: int) -> Stall:
    """A prompt of so many tokens among running answers of the engine core, without HTTP."""
    running = [core.add(core.prompt(_RUNNING_PROMPT), _RUNNING_ANSWER) for _ in range(streams)]
    core.step_until_started(running)
    core.step(SETTLE + BEFORE)
    sent = time.monotonic()
    long = core.add(core.prompt(tokens), _LONG_ANSWER)
    core.step_until_ended(long)
    core.clear()
    return stall([core.arrivals[request_id] for request_id in running], sent, core.arrivals[long])


async def http_stall(target: Target, streams: int, tokens: int, writer: Writer) -> Stall:
    """The same of a server, with texts."""

    def ask(text: str, max_tokens: int, recording: Recording) -> "asyncio.Task[Recording]":
        body = greedy(target.model, text, max_tokens, ignore_eos=True)
        return asyncio.create_task(record(target.server.url, body, recording))

    running = [Recording() for _ in range(streams)]
    long_text = writer.order(tokens)
    tasks = [ask(writer.saga(_RUNNING_PROMPT), _RUNNING_ANSWER, recording) for recording in running]
    deadline = time.monotonic() + _PATIENCE
    while min(len(recording.pieces) for recording in running) <= SETTLE + BEFORE:
        ended = [task.result().read() for task in tasks if task.done()]
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"the answers ended too early or don't come: {ended}\n{target.server.log.read_text()[-4000:]}")
        await asyncio.sleep(0.002)
    long = (await ask(long_text, _LONG_ANSWER, Recording())).read()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    if long.error or not long.arrivals:
        raise RuntimeError(f"the long prompt got no answer: {long.error}\n{target.server.log.read_text()[-4000:]}")
    return stall([recording.read().arrivals for recording in running], long.sent, long.arrivals)


def join(core: Core, context: int, joins: int) -> list[Join]:
    """Short requests that come, one after the other, to rows with contexts of so many tokens."""
    shared = core.prompt(context - _OWN)
    rows: list[str] = []
    for _ in range(ROWS):
        rows.append(core.add(shared + core.prompt(_OWN)))
        core.step_until_started(rows)
    arrivals = [core.arrivals[row] for row in rows]
    results = []
    for _ in range(joins):
        settled = time.monotonic()
        core.step(_JOIN_BEFORE)
        sent = time.monotonic()
        step = statistics.median(gaps_within([[at for at in row if at > settled] for row in arrivals], settled, sent))
        request = core.add(core.prompt(_JOIN_PROMPT), _JOIN_ANSWER)
        core.step_until_ended(request)
        core.step(_AFTER)
        longest = max(gaps_within(arrivals, sent, time.monotonic()))
        results.append(Join(step, longest, longest / step, core.arrivals[request][0] - sent))
    core.clear()
    return results


def medians(measured: Sequence[Stall] | Sequence[Join]) -> dict[str, float]:
    """Each figure's median."""
    return {key: round(statistics.median(getattr(one, key) for one in measured), 4) for key in asdict(measured[0])}


def over_http(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Every server in turn."""
    peers = [OURS, *options.compare]
    measured: dict[str, list[Stall]] = {peer: [] for peer in peers}
    for round_number, peer in in_turn(peers, options.rounds):
        writer = Writer(model_counter(folder), Random(f"stalls {round_number}"))
        with PEERS[peer](folder, options.streams + 1) as target:
            asyncio.run(http_stall(target, options.streams, options.warm_up, writer))
            measured[peer].append(asyncio.run(http_stall(target, options.streams, options.prompt_tokens, writer)))
    return [{"way": "http", "server": peer} | medians(stalls) for peer, stalls in measured.items()]


def main() -> int:
    """Measure and print."""
    options = _options()
    folder = folder_to_serve(options)
    document = new_document(
        "stalls",
        model=folder.name,
        streams=options.streams,
        prompt_tokens=options.prompt_tokens,
        before=BEFORE,
        rounds=options.rounds,
        joins=options.joins,
        join={"rows": ROWS, "prompt": _JOIN_PROMPT, "answer": _JOIN_ANSWER},
        weights="as is" if options.as_is else "float32",
    )
    document["prefill"] = over_http(options, folder) if "http" in options.parts else []
    if {"core", "join"} & set(options.parts):
        core = load_core(folder, max(options.streams, ROWS) + 1)
        document["device"] = core.device
        core_stall(core, options.streams, options.warm_up)
    if "core" in options.parts:
        stalls = [core_stall(core, options.streams, options.prompt_tokens) for _ in range(options.rounds)]
        document["prefill"].append({"way": "core", "server": OURS} | medians(stalls))
    if "join" in options.parts:
        context = options.context or min(8192, core.context_length) - _ROOM
        joined = join(core, context, options.joins)
        document["join"] = {"context": context} | medians(joined) | {"worst_ratio": round(max(one.ratio for one in joined), 4)}
    finish(document, report(document), keep=options.save)
    return 0


def report(document: dict[str, Any]) -> str:
    """What people read."""
    settings = document["settings"]
    texts = [f"{settings['model']}, {settings['rounds']} round(s), times in seconds"]
    if document["prefill"]:
        header = ["way", "server", "gap p50", "p99", "with p50", "with p99", "with max", "p99 ratio", "TTFT of the prompt"]
        texts.append(
            f"Gaps of {settings['streams']} running answers, without and with a prompt of {settings['prompt_tokens']:,} tokens "
            "(a ratio of at most 3 is wanted)"
        )
        texts.append(table(header, [list(row.values()) for row in document["prefill"]]))
    if "join" in document:
        figures = document["join"]
        texts.append(
            f"{settings['join']['rows']} sequences with contexts of {figures['context']:,} tokens, and {settings['joins']} short "
            "requests one after the other (at most 2 steps are wanted)"
        )
        texts.append(table(["context", "step", "longest gap", "in steps", "TTFT", "worst, in steps"], [list(figures.values())]))
    return "\n\n".join(texts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--short", action="store_true", help="one round, shorter prompts and contexts")
    parser.add_argument("--parts", type=lambda value: value.split(","), default=PARTS, help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--rounds", type=int, help="default 3, or 1 when short")
    parser.add_argument("--streams", type=int, default=8, help="running answers; default 8")
    parser.add_argument("--prompt-tokens", type=int, help="of the long prompt; default 4096, or 768 when short")
    parser.add_argument(
        "--warm-up", type=int, help="tokens of a long prompt that comes first and doesn't count; default an eighth"
    )
    parser.add_argument("--context", type=int, help=f"of the joined; default 8192, less {_ROOM} for answers; or 512 when short")
    parser.add_argument("--joins", type=int, help="short requests that come; default 4, or 2 when short")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.short else 3)
    options.joins = options.joins or (2 if options.short else 4)
    options.prompt_tokens = options.prompt_tokens or (768 if options.short else 4096)
    options.warm_up = options.warm_up or max(1, options.prompt_tokens // 8)
    options.context = options.context or (512 if options.short else None)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # MLX may abort in glibc when the interpreter ends
