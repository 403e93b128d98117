"""The overview: how the server is doing, for its users and for its machine."""

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
    REQUESTS_PER_SECOND,
    SECONDS,
    TOKENS_PER_SECOND,
    YELLOW,
    Query,
    graph,
    number,
)
from dashboards.promql import happened, mean, named, or_none, or_zero, quantile, rate, series, total
from omlx.metrics import spec

FAILED = 'status=~"5.."'
BROKE_OFF = 'status!~"5..", finished_reason="error"'
_ERRORS = f"({or_zero(rate(spec.REQUESTS, FAILED))}) + ({or_zero(rate(spec.REQUESTS, BROKE_OFF))})"
_ERROR_RATIO = or_zero(f"({_ERRORS}) / ({rate(spec.REQUESTS)} > 0)")


def overview() -> dict[str, Any]:
    """The dashboard."""
    return dashboard(
        "omlx-overview",
        "oMLX / Overview",
        "How an oMLX server is doing: its traffic, what its clients wait for, its models and their memory.",
        [
            Section("Now", [Line(4, _now())]),
            Section("Latency", [Line(8, _latency())]),
            Section("Traffic", [Line(8, _traffic())]),
            Section("Work", [Line(8, _work())]),
            Section("Models and memory", [Line(8, _models())]),
            Section("Server", [Line(7, _server())]),
        ],
    )


def _now() -> list[Any]:
    return [
        number(
            "Requests", "Requests for text that ended, by the second.", or_zero(rate(spec.REQUESTS)), unit=REQUESTS_PER_SECOND
        ),
        number(
            "Errors",
            "The part of the requests for text that failed: answered with a 5xx, or broken off within their stream. Clients that left"
            " and requests that were wrong or one too many (4xx) aren't among them.",
            _ERROR_RATIO,
            unit=RATIO,
            base=GREEN,
            levels=[(0.01, ORANGE), (0.05, RED)],
        ),
        number("Generated", "Tokens generated, by the second.", or_zero(rate(spec.GENERATION_TOKENS)), unit=TOKENS_PER_SECOND),
        number("Running", "Requests in the engines' batches.", or_zero(total(spec.REQUESTS_RUNNING))),
        number(
            "Waiting",
            "Requests in the engines' queues. More than a few for long: the machine has more to do than it can.",
            or_zero(total(spec.REQUESTS_WAITING)),
            base=GREEN,
            levels=[(1, YELLOW), (16, ORANGE)],
        ),
        number("Models loaded", "Models with an engine that serves.", total(spec.MODELS_LOADED)),
        number(
            "Memory",
            "What the engines take of the memory that they may take together, as measured.",
            f"{total(spec.MEMORY_USED)} / {total(spec.MEMORY_BUDGET)}",
            unit=RATIO,
            base=GREEN,
            levels=[(0.85, YELLOW), (0.95, RED)],
        ),
        number(
            "Catalog",
            "Whether the process that knows models, engines and memory answers. Without it, loaded models go on; nothing is loaded.",
            f"min({series(spec.CATALOG_UP)})",
            texts={"1": ("up", GREEN), "0": ("down", RED)},
        ),
    ]


def _latency() -> list[Any]:
    return [
        graph(
            "Time to first token",
            "From a request's arrival to its first token, loading the model included. Half of the requests, 95 % and 99 % of them"
            " waited for less.",
            *_quantiles(spec.TIME_TO_FIRST_TOKEN),
            unit=SECONDS,
        ),
        graph(
            "Inter-token latency",
            "From one token of an answer to its next. High p99 beside a low p50: long prompts are being read beside the answers.",
            *_quantiles(spec.INTER_TOKEN_LATENCY),
            unit=SECONDS,
        ),
        graph(
            "End-to-end latency",
            "From a request's arrival to its last token, for requests that came to their end. Grows with the answers' length.",
            *_quantiles(spec.E2E_LATENCY),
            unit=SECONDS,
        ),
    ]


def _quantiles(metric: spec.MetricSpec) -> list[Query]:
    shown = ((0.5, "p50", GREEN), (0.95, "p95", YELLOW), (0.99, "p99", RED))
    return [Query(quantile(part, metric), legend, color) for part, legend, color in shown]


def _traffic() -> list[Any]:
    by_reason = named(rate(spec.REQUESTS, by="finished_reason"), "finished_reason", "refused")
    return [
        graph(
            "Requests by model",
            "Requests for text that ended, however, by the second. `no such model` are those whose model isn't there.",
            Query(
                or_none(named(rate(spec.REQUESTS, by="model_name"), "model_name", "no such model"), "model_name"),
                "{{model_name}}",
            ),
            unit=REQUESTS_PER_SECOND,
            style="stack",
        ),
        graph(
            "Requests by end",
            "stop and length came to their end; abort: the client left; error: broken off; refused: answered with an error.",
            Query(or_none(by_reason, "finished_reason", "stop"), "{{finished_reason}}"),
            unit=REQUESTS_PER_SECOND,
            style="stack",
        ),
        graph(
            "Refused and broken off",
            "Requests for text that were refused, by the error's code, those that broke off within their stream, and those whose"
            " client left; docs/api.md says what each code means.",
            Query(or_none(rate(spec.REQUESTS_REJECTED, by="reason"), "reason", "queue_full"), "{{reason}}"),
            Query(or_zero(rate(spec.REQUESTS, BROKE_OFF)), "broken off", RED),
            Query(or_zero(rate(spec.REQUESTS_ABORTED)), "client left", GREY),
            unit=REQUESTS_PER_SECOND,
        ),
    ]


def _work() -> list[Any]:
    return [
        graph(
            "Tokens",
            "Prompt tokens of requests as they get their first token, how many of these were in the prefix cache, and generated tokens.",
            Query(or_zero(rate(spec.PROMPT_TOKENS)), "prompt", BLUE),
            Query(or_zero(rate(spec.CACHED_TOKENS)), "prompt, from the cache", PURPLE),
            Query(or_zero(rate(spec.GENERATION_TOKENS)), "generated", GREEN),
            unit=TOKENS_PER_SECOND,
        ),
        graph(
            "Generated tokens by model",
            "Which model the machine's time goes to.",
            Query(or_none(rate(spec.GENERATION_TOKENS, by="model_name"), "model_name"), "{{model_name}}"),
            unit=TOKENS_PER_SECOND,
            style="stack",
        ),
        graph(
            "Running and waiting",
            "Requests in the batches and in the queues. A queue that doesn't get shorter: more is asked than the machine can do.",
            Query(or_zero(total(spec.REQUESTS_RUNNING)), "running", GREEN),
            Query(or_zero(total(spec.REQUESTS_WAITING)), "waiting", ORANGE),
        ),
    ]


def _models() -> list[Any]:
    return [
        graph(
            "Memory by model, against the budget",
            "What each model's engines take, as measured. `promised` is what the engines that are up were promised, or take if that is"
            " more: a model is loaded where it fits between that and the budget.",
            Query(or_none(total(spec.MODEL_MEMORY, by="model_name"), "model_name"), "{{model_name}}"),
            Query(total(spec.MEMORY_RESERVED), "promised", YELLOW, is_bound=True),
            Query(total(spec.MEMORY_BUDGET), "budget", RED, is_bound=True),
            unit=BYTES,
            style="stack",
        ),
        graph(
            "Models",
            "Models on disk, those with an engine that serves, and folders that hold something that can't be served.",
            Query(total(spec.MODELS_FOUND), "found", BLUE),
            Query(total(spec.MODELS_LOADED), "loaded", GREEN),
            Query(total(spec.MODELS_SKIPPED), "skipped", GREY),
        ),
        graph(
            "Loads, evictions, restarts",
            "In the minute or more of each bar. Loads and evictions for memory in turn: more models are asked for than fit.",
            Query(or_none(happened(spec.MODEL_LOADS, by="result"), "result", "success"), "load: {{result}}"),
            Query(or_none(happened(spec.MODEL_EVICTIONS, by="reason"), "reason", "memory"), "let go: {{reason}}"),
            Query(or_zero(happened(spec.ENGINE_RESTARTS)), "restart after a crash", RED),
            style="bars",
            at_least_every="1m",
        ),
    ]


def _server() -> list[Any]:
    return [
        graph(
            "HTTP requests by route",
            "Every route, the scrapes of Prometheus included.",
            Query(rate(spec.HTTP_REQUESTS, by="endpoint, status"), "{{endpoint}} {{status}}"),
            unit=REQUESTS_PER_SECOND,
        ),
        graph(
            "HTTP mean duration by route",
            "From a request's headers to the end of its answer, streams included.",
            Query(mean(spec.HTTP_SECONDS, by="endpoint"), "{{endpoint}}"),
            unit=SECONDS,
        ),
        graph(
            "In flight",
            "HTTP requests being answered, and tasks of the server's event loop. Tasks that stay when nothing is asked are a fault.",
            Query(total(spec.HTTP_IN_FLIGHT), "HTTP requests", BLUE),
            Query(total(spec.EVENT_LOOP_TASKS), "tasks", GREY),
            unit=COUNT,
        ),
    ]
