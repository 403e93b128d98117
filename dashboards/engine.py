"""The engines: what each model's time and memory go to. One section a model."""

from typing import Any

from dashboards.frame import Line, Section, dashboard
from dashboards.panels import (
    BLUE,
    BYTES,
    COUNT,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RATIO,
    RED,
    SECONDS,
    STEPS_PER_SECOND,
    TOKENS_PER_SECOND,
    YELLOW,
    Query,
    graph,
    heat_map,
    number,
)
from dashboards.promql import RANGE, happened, mean, or_none, or_zero, quantile, rate, rise, series, total
from omlx.metrics import spec

_ONE_PHASE = 'phase="forward"'  # every step has each phase once
_STEPS = rate(spec.STEP_TIME, _ONE_PHASE, part="_count")
_MEAN_LOAD = f"{total(spec.LOAD_TIME, part='_sum')} / {total(spec.LOAD_TIME, part='_count')}"
_HIT_RATIO = f"{rate(spec.PREFIX_HITS)} / ({rate(spec.PREFIX_QUERIES)} > 0)"


def engine() -> dict[str, Any]:
    """The dashboard."""
    return dashboard(
        "omlx-engine",
        "oMLX / Engine",
        "What each model's engine does, step by step: its batch, its KV, its prefix cache, where its requests' time goes.",
        [
            Section(
                "$model",
                [
                    Line(4, _now()),
                    Line(8, _spread()),
                    Line(8, _steps()),
                    Line(8, _cache()),
                    Line(8, _requests()),
                    Line(7, _lives()),
                ],
                by_model=True,
            )
        ],
    )


def _now() -> list[Any]:
    return [
        number("Running", "Requests in the batch after the latest step.", or_zero(total(spec.REQUESTS_RUNNING))),
        number(
            "Waiting",
            "Requests in the queue after the latest step.",
            or_zero(total(spec.REQUESTS_WAITING)),
            base=GREEN,
            levels=[(1, YELLOW), (16, ORANGE)],
        ),
        number("Generated", "Tokens generated, by the second.", or_zero(rate(spec.GENERATION_TOKENS)), unit=TOKENS_PER_SECOND),
        number(
            "KV in use",
            "The part of the KV budget that the requests in the batch take. Near 100 %, new ones wait and old ones may have to yield.",
            or_zero(f"max({series(spec.KV_USAGE)})"),
            unit=RATIO,
            base=GREEN,
            levels=[(0.8, YELLOW), (0.95, RED)],
        ),
        number(
            "Prefix hits",
            "The part of the prompts' tokens that was kept from earlier requests and didn't have to be computed.",
            or_zero(_HIT_RATIO),
            unit=RATIO,
        ),
        number(
            "Preemptions",
            "Requests that had to give their KV back and wait again, in the time range. Each costs computing its KV once more.",
            or_zero(f"round({rise(spec.PREEMPTIONS, over=RANGE)})"),
            base=GREEN,
            levels=[(1, ORANGE)],
            is_latest=True,
        ),
        number(
            "Restarts",
            "Engines that were started again after a crash, in the time range. The log says why each ended.",
            or_zero(f"round({rise(spec.ENGINE_RESTARTS, over=RANGE)})"),
            base=GREEN,
            levels=[(1, RED)],
            is_latest=True,
        ),
        number("Memory", "What the model's engines take, as measured.", or_zero(total(spec.MODEL_MEMORY)), unit=BYTES),
    ]


def _spread() -> list[Any]:
    return [
        heat_map(
            "Time to first token",
            "How many requests got their first token within which time. Two bands: those that waited, and those that didn't.",
            rise(spec.TIME_TO_FIRST_TOKEN, by="le", part="_bucket"),
        ),
        heat_map(
            "Inter-token latency",
            "How many tokens came how long after the one before.",
            rise(spec.INTER_TOKEN_LATENCY, by="le", part="_bucket"),
        ),
        heat_map(
            "Step time: the model",
            "How many steps spent how long in the model (phase forward). The upper bands are steps that read prompts, too.",
            rise(spec.STEP_TIME, _ONE_PHASE, by="le", part="_bucket"),
        ),
    ]


def _steps() -> list[Any]:
    return [
        graph(
            "Batch size",
            "Requests in the batch, step by step: the more, the more tokens a second and the fewer for each.",
            Query(mean(spec.BATCH_SIZE), "mean", BLUE),
            Query(quantile(0.95, spec.BATCH_SIZE), "p95", YELLOW),
        ),
        graph(
            "Step time by phase",
            "The mean of what a step spends on deciding, on the model, on drawing tokens and on passing them on. Anything but forward"
            " should be thin.",
            Query(mean(spec.STEP_TIME, by="phase"), "{{phase}}"),
            unit=SECONDS,
            style="stack",
        ),
        graph(
            "Steps",
            "Steps by the second, each one token for every request that is past its prompt.",
            Query(or_zero(_STEPS), "steps", GREEN),
            unit=STEPS_PER_SECOND,
        ),
    ]


def _cache() -> list[Any]:
    return [
        graph(
            "KV by tier, against the budget",
            "Bytes of KV of the requests in the batch (running) and kept for requests to come (prefix). A budget of 0 is none.",
            Query(or_none(total(spec.KV_BYTES, by="tier"), "tier", "running"), "{{tier}}"),
            Query(or_zero(total(spec.KV_BUDGET)), "budget", RED, is_bound=True),
            unit=BYTES,
            style="stack",
        ),
        graph(
            "Prefix hit rate",
            "The part of the prompts' tokens that was kept from earlier requests. No line while no prompt came.",
            Query(or_zero(f"{rate(spec.PREFIX_HITS)} / {rate(spec.PREFIX_QUERIES)}"), "found", PURPLE),
            unit=RATIO,
            most=1.0,
        ),
        graph(
            "Preemptions and prefix evictions",
            "By the second: requests that had to give their KV back, and blocks of kept KV that had to make room. Both for long: the KV"
            " budget is too small for what is asked.",
            Query(or_zero(rate(spec.PREEMPTIONS)), "preemptions", RED),
            Query(or_zero(rate(spec.PREFIX_EVICTIONS)), "evicted blocks", ORANGE),
        ),
    ]


def _requests() -> list[Any]:
    parts = ((spec.QUEUE_TIME, "queue", ORANGE), (spec.PREFILL_TIME, "prefill", BLUE), (spec.DECODE_TIME, "decode", GREEN))
    return [
        graph(
            "Where a request's time goes",
            "The mean of waiting, of reading the prompt and of generating, for requests that came to their end.",
            *(Query(mean(metric), legend, color) for metric, legend, color in parts),
            unit=SECONDS,
            style="stack",
        ),
        graph(
            "Queue, prefill and decode: p95",
            "95 % of the requests that came to their end took less for each of these.",
            *(Query(quantile(0.95, metric), legend, color) for metric, legend, color in parts),
            unit=SECONDS,
        ),
        graph(
            "Tokens a request",
            "Half of the requests that came to their end had fewer, and 95 % of them.",
            Query(quantile(0.5, spec.REQUEST_PROMPT_TOKENS), "prompt p50", BLUE),
            Query(quantile(0.95, spec.REQUEST_PROMPT_TOKENS), "prompt p95", PURPLE),
            Query(quantile(0.5, spec.REQUEST_GENERATION_TOKENS), "generated p50", GREEN),
            Query(quantile(0.95, spec.REQUEST_GENERATION_TOKENS), "generated p95", YELLOW),
            unit=COUNT,
        ),
    ]


def _lives() -> list[Any]:
    return [
        graph(
            "Running and waiting",
            "Requests in the batch and in the queue.",
            Query(or_zero(total(spec.REQUESTS_RUNNING)), "running", GREEN),
            Query(or_zero(total(spec.REQUESTS_WAITING)), "waiting", ORANGE),
        ),
        graph(
            "Loads and restarts",
            "In the minute or more of each bar: loads by their result, engines that were let go, and restarts after a crash.",
            Query(or_none(happened(spec.MODEL_LOADS, by="result"), "result", "success"), "load: {{result}}"),
            Query(or_zero(happened(spec.MODEL_EVICTIONS)), "let go", GREY),
            Query(or_zero(happened(spec.ENGINE_RESTARTS)), "restart after a crash", RED),
            style="bars",
            at_least_every="1m",
        ),
        graph(
            "Load time",
            "The mean of all loads since the server's start, from the start of an engine's process until it served.",
            Query(_MEAN_LOAD, "mean", BLUE),
            unit=SECONDS,
        ),
    ]
