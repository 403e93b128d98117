"""Every metric, in one table."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What Prometheus may do with a metric's numbers."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric.

    Attributes:
        name: As it is scraped; a counter's ends with `_total`.
        help: What one reads beside it.
        labels: What its series differ by.
        buckets: Upper bounds of a histogram's buckets, without infinity.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# vLLM's bounds, so that its dashboards' habits carry over.
_TTFT_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_LATENCY_SECONDS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_HTTP_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

HTTP_REQUESTS = MetricSpec(
    "omlx_http_requests_total",
    Kind.COUNTER,
    "HTTP requests answered, by route; a client that left before its answer began counts as 499.",
    ("endpoint", "method", "status"),
)
HTTP_IN_FLIGHT = MetricSpec(
    "omlx_http_requests_in_flight", Kind.GAUGE, "HTTP requests being answered, the scrape itself included."
)
HTTP_SECONDS = MetricSpec(
    "omlx_http_request_duration_seconds",
    Kind.HISTOGRAM,
    "From a request's headers to the end of its answer, streams included.",
    ("endpoint", "method"),
    _HTTP_SECONDS,
)
REQUEST_SUCCESS = MetricSpec(
    "omlx_request_success_total",
    Kind.COUNTER,
    "Generation requests that came to their end, by why they (or the last of their choices) ended: stop or length.",
    ("model_name", "finished_reason"),
)
PROMPT_TOKENS = MetricSpec(
    "omlx_prompt_tokens_total", Kind.COUNTER, "Tokens of the prompts that brought a first token.", ("model_name",)
)
GENERATION_TOKENS = MetricSpec("omlx_generation_tokens_total", Kind.COUNTER, "Tokens generated.", ("model_name",))
TIME_TO_FIRST_TOKEN = MetricSpec(
    "omlx_time_to_first_token_seconds",
    Kind.HISTOGRAM,
    "From a request's arrival to its first token, loading the model included.",
    ("model_name",),
    _TTFT_SECONDS,
)
E2E_LATENCY = MetricSpec(
    "omlx_e2e_request_latency_seconds",
    Kind.HISTOGRAM,
    "From a request's arrival to its last token, for requests that came to their end.",
    ("model_name",),
    _LATENCY_SECONDS,
)
REQUESTS_RUNNING = MetricSpec(
    "omlx_num_requests_running", Kind.GAUGE, "Requests in the engine's batch after its latest step.", ("model_name",)
)
REQUESTS_WAITING = MetricSpec(
    "omlx_num_requests_waiting", Kind.GAUGE, "Requests in the engine's queue after its latest step.", ("model_name",)
)
KV_BYTES = MetricSpec(
    "omlx_kv_cache_bytes", Kind.GAUGE, "Bytes of the KV of the requests in the engine's batch.", ("model_name",)
)
KV_BUDGET = MetricSpec(
    "omlx_kv_cache_budget_bytes",
    Kind.GAUGE,
    "Bytes that an engine's KV may take, the batch's and what is kept together; 0 where there is no bound.",
    ("model_name",),
)
PREEMPTIONS = MetricSpec(
    "omlx_num_preemptions_total", Kind.COUNTER, "Requests that had to give their KV back and wait again.", ("model_name",)
)
PREFIX_BYTES = MetricSpec(
    "omlx_prefix_cache_bytes", Kind.GAUGE, "Bytes of the KV that is kept for requests to come.", ("model_name",)
)
PREFIX_QUERIES = MetricSpec(
    "omlx_prefix_cache_queries_total", Kind.COUNTER, "Tokens of prompts that were looked up among the kept KV.", ("model_name",)
)
PREFIX_HITS = MetricSpec("omlx_prefix_cache_hits_total", Kind.COUNTER, "Those of them that were found.", ("model_name",))
EVENT_LOOP_TASKS = MetricSpec(
    "omlx_event_loop_tasks",
    Kind.GAUGE,
    "Tasks of the server's event loop, the scrape's own included; a few while nothing is asked.",
)
BUILD_INFO = MetricSpec("omlx_build_info", Kind.GAUGE, "1, with the server's version.", ("version",))

METRICS = (
    HTTP_REQUESTS,
    HTTP_IN_FLIGHT,
    HTTP_SECONDS,
    REQUEST_SUCCESS,
    PROMPT_TOKENS,
    GENERATION_TOKENS,
    TIME_TO_FIRST_TOKEN,
    E2E_LATENCY,
    REQUESTS_RUNNING,
    REQUESTS_WAITING,
    KV_BYTES,
    KV_BUDGET,
    PREEMPTIONS,
    PREFIX_BYTES,
    PREFIX_QUERIES,
    PREFIX_HITS,
    EVENT_LOOP_TASKS,
    BUILD_INFO,
)
