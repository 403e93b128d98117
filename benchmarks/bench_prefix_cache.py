"""What a kept prefix saves: the time to first token where most of the prompt has been computed before, over HTTP and without.

    python -m benchmarks.bench_prefix_cache [MODEL_FOLDER] [--short] [--compare mlx-lm] [--save]

`prefix`: a prompt with a fresh beginning of 1,500 tokens (cold), then another one with the same beginning (cached).
`turns`: a chat whose every turn appends to the ones before, beside the same chat as if nobody had had it yet: a number in its
first message makes all of it new.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.client import Measured, chat
from benchmarks.core import Core, load_core
from benchmarks.peers import OURS, PEERS, Target, add_options, folder_to_serve, in_turn
from benchmarks.report import finish, new_document, table
from benchmarks.workloads import model_counter
from omlx.benchmark.prose import Writer
from scheduler.prefix_cache import BLOCK_TOKENS

PREFIX = 1500  # tokens
_OWN = 24  # tokens of each prompt after it, without HTTP
_ANSWER = 4  # tokens
_TURN_TEXT, _TURN_ANSWER = 150, 32  # tokens of what the user says in a turn, and at most of its answer
_CAPITAL = "What is the capital of France?"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two requests that differ in what is kept of their prompts. Seconds to the first token, and tokens.

    Attributes:
        prompt_tokens: Of the second.
        cold_cached_tokens, cached_tokens: As the server says; 0 where it doesn't.
    """

    cold: float
    cached: float
    prompt_tokens: int
    cold_cached_tokens: int
    cached_tokens: int

    @property
    def is_sound(self) -> bool:
        """Whether as much was reused as could be, and nothing to speak of where nothing was kept.

        All prompts have the template's own beginning in common, some blocks.
        """
        return self.cold_cached_tokens <= 4 * BLOCK_TOKENS and self.cached_tokens >= 0.9 * PREFIX


async def ask(target: Target, messages: Sequence[dict[str, str]], max_tokens: int) -> Measured:
    """One greedy answer. Raises `RuntimeError` when there is none."""
    body = {"model": target.model, "messages": messages, "temperature": 0, "max_tokens": max_tokens}
    answer = await chat(target.server.url, body)
    if answer.error or not answer.arrivals:
        raise RuntimeError(f"no answer: {answer.error}\n{target.server.log.read_text()[-4000:]}")
    return answer


def says(role: str, text: str) -> dict[str, str]:
    """A message."""
    return {"role": role, "content": text}


async def http_pair(target: Target, writer: Writer) -> Pair:
    """A fresh prefix, and the same again."""
    prefix = writer.prose(PREFIX)
    cold, cached = [await ask(target, [says("user", f"{prefix} {writer.task()}")], _ANSWER) for _ in range(2)]
    return Pair(cold.ttft, cached.ttft, cached.prompt_tokens, cold.cached_tokens, cached.cached_tokens)


def core_pair(core: Core) -> Pair:
    """The same with the engine core."""
    prefix = core.prompt(PREFIX)
    sent, requests = [], []
    for _ in range(2):
        prompt = prefix + core.prompt(_OWN)
        sent.append(time.monotonic())
        requests.append(core.add(prompt, _ANSWER))
        core.step_until_ended(requests[-1])
    cold, cached = (core.arrivals[request][0] - at for request, at in zip(requests, sent, strict=True))
    return Pair(cold, cached, PREFIX + _OWN, *(core.cached_tokens[request] for request in requests))


async def chat_by_turns(target: Target, writer: Writer, turns: int) -> list[Pair]:
    """A chat that goes on, and at each of its turns the same as if it were new."""
    messages: list[dict[str, str]] = []
    pairs = []
    for turn in range(turns):
        messages.append(says("user", writer.order(_TURN_TEXT)))
        stranger = says("user", f"{1000 + turn} {messages[0]['content']}")
        if turn % 2:
            cold = await ask(target, [stranger, *messages[1:]], _ANSWER)
        cached = await ask(target, messages, _TURN_ANSWER)
        if not turn % 2:
            cold = await ask(target, [stranger, *messages[1:]], _ANSWER)
        pairs.append(Pair(cold.ttft, cached.ttft, cached.prompt_tokens, cold.cached_tokens, cached.cached_tokens))
        messages.append(says("assistant", cached.text))
    return pairs


async def drive(target: Target, writer: Writer, pairs: int, turns: int) -> tuple[list[Pair], list[Pair]]:
    """Warm a server up, then measure prefixes and turns."""
    await ask(target, [says("user", _CAPITAL)], _ANSWER)  # loads the model
    await http_pair(target, writer)
    return [await http_pair(target, writer) for _ in range(pairs)], await chat_by_turns(target, writer, turns)


def over_http(options: argparse.Namespace, folder: Path) -> tuple[dict[str, list[Pair]], dict[str, list[list[Pair]]]]:
    """Every server's prefixes, and its turns by round."""
    peers = [OURS, *options.compare]
    prefixes: dict[str, list[Pair]] = {peer: [] for peer in peers}
    turns: dict[str, list[list[Pair]]] = {peer: [] for peer in peers}
    for round_number, peer in in_turn(peers, options.rounds):
        writer = Writer(model_counter(folder), Random(f"prefixes {round_number}"))
        with PEERS[peer](folder, 8) as target:
            of_prefixes, of_turns = asyncio.run(drive(target, writer, options.pairs, options.turns))
        prefixes[peer] += of_prefixes
        turns[peer].append(of_turns)
    return prefixes, turns


def over_core(options: argparse.Namespace, folder: Path) -> list[Pair]:
    """As many prefixes without HTTP."""
    core = load_core(folder, 8)
    core_pair(core)
    return [core_pair(core) for _ in range(options.pairs * options.rounds)]


def medians(pairs: Sequence[Pair]) -> dict[str, float]:
    """Each figure's median, and the ratio of the medians of the times."""
    cold, cached = (statistics.median(getattr(pair, key) for pair in pairs) for key in ("cold", "cached"))
    counted = {
        key: round(statistics.median(getattr(pair, key) for pair in pairs))
        for key in ("prompt_tokens", "cold_cached_tokens", "cached_tokens")
    }
    return {"cold": round(cold, 4), "cached": round(cached, 4), "ratio": round(cached / cold, 3)} | counted


def main() -> int:
    """Measure, print, and fail when ours did not reuse what it had."""
    options = _options()
    folder = folder_to_serve(options)
    document = new_document(
        "prefix_cache",
        model=folder.name,
        prefix=PREFIX,
        rounds=options.rounds,
        pairs=options.pairs,
        turns=options.turns,
        turn={"text": _TURN_TEXT, "answer": _TURN_ANSWER},
        weights="as is" if options.as_is else "float32",
    )
    prefixes, turns = over_http(options, folder)
    core = over_core(options, folder)
    document["prefix"] = [{"way": "http", "server": peer} | medians(pairs) for peer, pairs in prefixes.items()]
    document["prefix"].append({"way": "core", "server": OURS} | medians(core))
    ours, alone = document["prefix"][0]["cached"], document["prefix"][-1]["cached"]
    document["http_share"] = round((ours - alone) / ours, 3)
    document["turns"] = [
        {"turn": turn + 1, "server": peer} | medians(pairs)
        for turn in range(options.turns)
        for peer in turns
        for pairs in [[of_round[turn] for of_round in turns[peer]]]
    ]
    document["sound"] = all(pair.is_sound for pair in (*prefixes[OURS], *core))
    finish(document, report(document), keep=options.save)
    return 0 if document["sound"] else 1


def report(document: dict[str, Any]) -> str:
    """What people read."""
    settings = document["settings"]
    times = ["cold", "cached", "ratio", "prompt", "kept when cold", "kept"]
    return (
        f"{settings['model']}, {settings['rounds']} round(s) of {settings['pairs']} prefixes; seconds to the first token, and tokens\n\n"
        f"A beginning of {PREFIX:,} tokens that is kept (a ratio of at most 0.15 is wanted on a CPU, 0.25 on a GPU)\n\n"
        f"{table(['way', 'server', *times], [list(row.values()) for row in document['prefix']])}\n\n"
        f"HTTP and everything around the core take {document['http_share']:.0%} of our cached time. "
        f"Of our prompts, {'as much was reused as was kept' if document['sound'] else 'LESS WAS REUSED THAN COULD BE'}.\n\n"
        f"A chat by turns, {_TURN_TEXT} tokens each and answers of at most {_TURN_ANSWER}\n\n"
        f"{table(['turn', 'server', *times], [list(row.values()) for row in document['turns']])}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--short", action="store_true", help="one round, two prefixes, three turns")
    parser.add_argument("--rounds", type=int, help="times that each server is started; default 2, or 1 when short")
    parser.add_argument("--pairs", type=int, help="fresh prefixes of a round; default 4, or 2 when short")
    parser.add_argument("--turns", type=int, help="of the chat; default 6, or 3 when short")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.short else 2)
    options.pairs = options.pairs or (2 if options.short else 4)
    options.turns = options.turns or (3 if options.short else 6)
    return options


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # MLX may abort in glibc when the interpreter ends
