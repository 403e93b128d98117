"""What clients get: latency, throughput and goodput over HTTP, of our server alone or of several servers in turn.

    python -m benchmarks.bench_serving [MODEL_FOLDER] [--compare mlx-lm,batch-generator,sequential,static] [--save]

Each server gets the same prompts, the same weights (a dense float32 copy, unless `--as-is`) and the same BLAS. They take
turns within a round, in an order that is reversed each time, and a figure is the median over the rounds.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.client import Recording, closed_loop, greedy, open_loop, record
from benchmarks.peers import OURS, PEERS, Target, add_options, folder_to_serve, has_blas, in_turn
from benchmarks.plots import plot_serving
from benchmarks.report import finish, new_document, table
from benchmarks.stats import Slo, Summary, medians, summarize
from benchmarks.workloads import WORKLOADS, Prompt, make_workload, model_counter, poisson
from omlx.benchmark.prose import CountTokens

BUSY_CLIENT = 0.7  # of a core: above that, the client is part of what is measured


@dataclass(frozen=True, slots=True)
class Load:
    """How requests come: from `clients` that each wait for their answer, or as the prompts' own times say.

    Attributes:
        rate: Requests a second at random times (Poisson); with neither this nor clients, the workload's own times.
    """

    clients: int | None = None
    rate: float | None = None

    @property
    def name(self) -> str:
        """How tables call it."""
        if self.clients is not None:
            return f"{self.clients} client{'s' if self.clients > 1 else ''}"
        return f"{self.rate:g}/s" if self.rate is not None else "burst"

    def count(self, per_client: int, at_rate: int) -> int:
        """How many requests it has."""
        return self.clients * per_client if self.clients is not None else at_rate

    async def run(self, ask: Callable[[Prompt], Awaitable[Recording]], prompts: Sequence[Prompt], seed: int) -> list[Recording]:
        """Send the prompts."""
        if self.clients is not None:
            return await closed_loop(ask, prompts, self.clients)
        return await open_loop(ask, poisson(prompts, self.rate, seed=seed) if self.rate is not None else prompts)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is sent to each server."""

    workload: str
    loads: tuple[Load, ...]
    per_client: int
    at_rate: int
    max_tokens: int
    prompt_tokens: int | None
    ignore_eos: bool
    batch: int
    seed: int
    slo: Slo

    def prompts(self, load: Load, count_tokens: CountTokens, round_number: int) -> list[Prompt]:
        """A load's prompts: other ones in each round and load, so that no server has seen them, but the same for all servers."""
        seed = (self.seed * 1000 + round_number) * 100 + self.loads.index(load)
        count = load.count(self.per_client, self.at_rate)
        return make_workload(self.workload, count_tokens, count, self.max_tokens, seed=seed, tokens=self.prompt_tokens)

    def warm_up(self, count_tokens: CountTokens, round_number: int) -> list[Prompt]:
        """A short answer for the load of the model, then a full batch of them."""
        return make_workload("chat", count_tokens, 1 + self.batch, 8, seed=-1 - round_number, tokens=self.prompt_tokens)


async def drive(target: Target, plan: Plan, count_tokens: CountTokens, round_number: int) -> dict[Load, Summary]:
    """Warm a server up, then put every load on it."""

    async def ask(prompt: Prompt) -> Recording:
        return await record(target.server.url, greedy(target.model, prompt.text, prompt.max_tokens, ignore_eos=plan.ignore_eos))

    # Some servers drop connections that come all at once: that counts against them in the measurement, not here.
    first, *others = plan.warm_up(count_tokens, round_number)
    error = (await ask(first)).read().error
    if error:
        raise RuntimeError(f"the server does not answer: {error}\n{target.server.log.read_text()[-4000:]}")
    await closed_loop(ask, others, plan.batch)
    summaries = {}
    for load in plan.loads:
        prompts = plan.prompts(load, count_tokens, round_number)
        began = time.process_time()
        recordings = await load.run(ask, prompts, plan.seed + round_number)
        busy = time.process_time() - began
        summaries[load] = summarize([recording.read() for recording in recordings], plan.slo, busy)
    return summaries


def measure(
    plan: Plan, model_folder: Path, peers: Sequence[str], rounds: int
) -> Iterator[tuple[str, Load, Summary, bool | None]]:
    """Every peer in every round; the order of the peers alternates."""
    count_tokens = model_counter(model_folder)
    for round_number, peer in in_turn(peers, rounds):
        with PEERS[peer](model_folder, plan.batch) as target:
            for load, summary in asyncio.run(drive(target, plan, count_tokens, round_number)).items():
                print(f"{peer}, {load.name}: {asdict(summary)}", file=sys.stderr)
                yield peer, load, summary, has_blas(target.server.pid)


def report(document: dict[str, Any]) -> str:
    """What people read."""
    results = document["results"]
    header = ["load", "server", "tokens/s", "TTFT p50", "p95", "p99", "ITL p50", "p99", "goodput/s", "in SLO", "errors", "client"]
    keys = ["tokens_per_second", "ttft_p50", "ttft_p95", "ttft_p99", "itl_p50", "itl_p99", "goodput", "attainment"]
    rows = [[r["load"], r["server"], *(r[key] for key in keys), int(r["errors"]), r["client_load"]] for r in results]
    settings = document["settings"]
    text = (
        f"{settings['model']}, workload {settings['workload']}, at most {settings['max_tokens']} tokens an answer, greedy, "
        f"{settings['rounds']} round(s)\nSLO: TTFT within {settings['slo']['ttft']:g} s, mean gap within "
        f"{settings['slo']['itl']:g} s. Times in seconds.\n\n{table(header, rows)}"
    )
    if document["ratios"]:
        ratios = [[r["load"], r["to"], r["tokens_per_second"], r["ttft_p50"], r["itl_p99"]] for r in document["ratios"]]
        text += "\n\nOurs to theirs: tokens/s above 1 is better, times below 1 are\n\n"
        text += table(["load", "to", "tokens/s", "TTFT p50", "ITL p99"], ratios)
    busy = [r["load"] for r in results if r["client_load"] > BUSY_CLIENT]
    if busy:
        text += f"\n\nThe client itself was busy at: {', '.join(dict.fromkeys(busy))}. These figures are a lower bound."
    return text


def ratios(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours to each peer's, load by load; None where either has no figure."""
    ours = {result["load"]: result for result in results if result["server"] == OURS}
    return [
        {"load": theirs["load"], "to": theirs["server"]}
        | {key: _ratio(ours[theirs["load"]][key], theirs[key]) for key in ("tokens_per_second", "ttft_p50", "itl_p99", "goodput")}
        for theirs in results
        if theirs["server"] != OURS and theirs["load"] in ours
    ]


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 3) if ours is not None and theirs else None


def main() -> int:
    """Measure, print, and fail when a request of ours did."""
    options = _options()
    can_plot = find_spec("matplotlib") is not None
    if options.plot and not can_plot:
        print("A plot needs matplotlib: pip install 'omlx[bench]', or `make bench`, which does.", file=sys.stderr)
        return 2
    model_folder = folder_to_serve(options)
    clients = () if options.workload == "burst" else options.clients
    loads = [Load(clients=number) for number in clients] + [Load(rate=rate) for rate in options.rates]
    if options.workload == "burst":
        loads.append(Load())
    plan = Plan(
        workload=options.workload,
        loads=tuple(loads),
        per_client=options.per_client,
        at_rate=options.requests,
        max_tokens=options.max_tokens,
        prompt_tokens=options.prompt_tokens,
        ignore_eos=options.ignore_eos,
        batch=options.batch or max([8, *clients]),
        seed=options.seed,
        slo=Slo(options.slo_ttft, options.slo_itl),
    )
    document = new_document(
        "serving", **asdict(plan), rounds=options.rounds, model=model_folder.name, weights="as is" if options.as_is else "float32"
    )
    peers = [OURS, *options.compare]
    summaries: dict[tuple[Load, str], list[Summary]] = {(load, peer): [] for load in loads for peer in peers}
    blas: dict[str, bool | None] = {}
    for peer, load, summary, has in measure(plan, model_folder, peers, options.rounds):
        summaries[load, peer].append(summary)
        blas[peer] = has
    document["fast_blas"] = blas
    document["results"] = [
        {"load": load.name, "clients": load.clients, "rate": load.rate, "server": peer} | medians(rounds)
        for (load, peer), rounds in summaries.items()
    ]
    document["ratios"] = ratios(document["results"])
    if options.plot:
        plot_serving(document, options.plot)
    kept = finish(document, report(document), keep=options.save, name=f"serving-{plan.workload}")
    if kept is not None and can_plot:
        plot_serving(document, kept.with_suffix(".png"))
    return 1 if any(result["errors"] for result in document["results"] if result["server"] == OURS) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--workload", choices=WORKLOADS, default="chat")
    parser.add_argument("--clients", type=_integers, default=[1, 8, 16], help="closed loops; default 1,8,16")
    parser.add_argument("--rates", type=_floats, default=[], help="open loops: Poisson arrivals a second, such as 0.5,1")
    parser.add_argument("--per-client", type=int, default=2, help="requests of each client; default 2")
    parser.add_argument("--requests", type=int, default=16, help="requests of an open loop; default 16")
    parser.add_argument("--max-tokens", type=int, default=32, help="of an answer; default 32")
    parser.add_argument("--prompt-tokens", type=int, help="of each user's message, instead of the workload's own length (chat)")
    parser.add_argument("--ignore-eos", action="store_true", help="answers end at their length (not all servers can)")
    parser.add_argument("--batch", type=int, help="the most rows of a batch; default the most clients, at least 8")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts; default 0")
    parser.add_argument("--slo-ttft", type=float, default=Slo().ttft, help=f"seconds; default {Slo().ttft:g}")
    parser.add_argument("--slo-itl", type=float, default=Slo().itl, help=f"seconds; default {Slo().itl:g}")
    parser.add_argument("--plot", type=Path, help="write the plot there")
    parser.add_argument("--save", action="store_true", help="keep the result, with its plot where matplotlib is")
    options = parser.parse_args()
    if options.prompt_tokens and options.workload != "chat":
        parser.error("--prompt-tokens goes with the workload chat")
    return options


def _integers(value: str) -> list[int]:
    return [int(part) for part in value.split(",")]


def _floats(value: str) -> list[float]:
    return [float(part) for part in value.split(",")]


if __name__ == "__main__":
    sys.exit(main())
