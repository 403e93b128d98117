"""Every metric, in one table: what is exposed, what docs/metrics.md says, what dashboards and alerts may use."""

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
        unit: What it counts or measures, in base units; `ratio` from 0 to 1.
        help: What one reads beside it.
        labels: What its series differ by.
        buckets: Upper bounds of a histogram's buckets, without infinity.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# vLLM's bounds, so that its dashboards' habits carry over; the bounds that OpenTelemetry's GenAI conventions ask for are among them.
TTFT_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
ITL_SECONDS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    *(5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
PART_SECONDS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_OTEL_DURATION_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
REQUEST_SECONDS = tuple(sorted({*PART_SECONDS, *_OTEL_DURATION_SECONDS}))
_HTTP_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_STEP_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LOAD_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_BATCH = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_TOKENS = tuple(float(digit * 10**power) for power in range(6) for digit in (1, 2, 5))

_MODEL = ("model_name",)

# HTTP, every route

HTTP_REQUESTS = MetricSpec(
    "omlx_http_requests_total",
    Kind.COUNTER,
    "requests",
    "HTTP requests answered, by route; a client that left before its answer began counts as 499.",
    ("endpoint", "method", "status"),
)
HTTP_IN_FLIGHT = MetricSpec(
    "omlx_http_requests_in_flight", Kind.GAUGE, "requests", "HTTP requests being answered, the scrape itself included."
)
HTTP_SECONDS = MetricSpec(
    "omlx_http_request_duration_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From a request's headers to the end of its answer, streams included.",
    ("endpoint", "method"),
    _HTTP_SECONDS,
)

# Requests to models, as clients see them

REQUESTS = MetricSpec(
    "omlx_requests_total",
    Kind.COUNTER,
    "requests",
    "Requests to models, however they ended: finished_reason is stop (vectors and scores, too), length, tool_calls,"
    " abort (the client left), error (it broke off), or none where it was refused; model_name is empty for a model that isn't there.",
    ("model_name", "endpoint", "status", "finished_reason"),
)
REQUEST_SUCCESS = MetricSpec(
    "omlx_request_success_total",
    Kind.COUNTER,
    "requests",
    "Requests to models that came to their end, by why they (or the last of their choices) ended: stop, length or tool_calls.",
    ("model_name", "finished_reason"),
)
REQUESTS_ABORTED = MetricSpec(
    "omlx_requests_aborted_total", Kind.COUNTER, "requests", "Requests whose client left before they had ended.", _MODEL
)
REQUESTS_REJECTED = MetricSpec(
    "omlx_requests_rejected_total",
    Kind.COUNTER,
    "requests",
    "Requests to models that were refused before their first token, by the error's code; docs/api.md has them all.",
    ("model_name", "reason"),
)
PROMPT_TOKENS = MetricSpec(
    "omlx_prompt_tokens_total",
    Kind.COUNTER,
    "tokens",
    "Tokens of the prompts that brought a first token, and of all that was embedded or reranked.",
    _MODEL,
)
CACHED_TOKENS = MetricSpec(
    "omlx_prompt_tokens_cached_total",
    Kind.COUNTER,
    "tokens",
    "Tokens of the prompts of requests that came to their end which didn't have to be computed.",
    _MODEL,
)
GENERATION_TOKENS = MetricSpec("omlx_generation_tokens_total", Kind.COUNTER, "tokens", "Tokens generated.", _MODEL)
TOKENS_PER_SECOND = MetricSpec(
    "omlx_generation_tokens_per_second",
    Kind.GAUGE,
    "tokens per second",
    "Tokens generated in the last ten seconds, by the second; for a look without Prometheus, which has rate().",
    _MODEL,
)
TIME_TO_FIRST_TOKEN = MetricSpec(
    "omlx_time_to_first_token_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From a request's arrival to its first token, loading the model included.",
    _MODEL,
    TTFT_SECONDS,
)
INTER_TOKEN_LATENCY = MetricSpec(
    "omlx_inter_token_latency_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From one token of an answer to its next.",
    _MODEL,
    ITL_SECONDS,
)
TIME_PER_OUTPUT_TOKEN = MetricSpec(
    "omlx_request_time_per_output_token_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "The same averaged over each request that came to its end with two tokens or more.",
    _MODEL,
    ITL_SECONDS,
)
E2E_LATENCY = MetricSpec(
    "omlx_e2e_request_latency_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From a request's arrival to its last token, or to the end of its vectors or scores, for requests that came to their end.",
    _MODEL,
    REQUEST_SECONDS,
)
QUEUE_TIME = MetricSpec(
    "omlx_request_queue_time_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From the engine's taking a request to the first step that fed its prompt, for requests that came to their end.",
    _MODEL,
    PART_SECONDS,
)
PREFILL_TIME = MetricSpec(
    "omlx_request_prefill_time_seconds", Kind.HISTOGRAM, "seconds", "From there to its first token.", _MODEL, PART_SECONDS
)
DECODE_TIME = MetricSpec(
    "omlx_request_decode_time_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From its first token to its last, in the engine.",
    _MODEL,
    PART_SECONDS,
)
INFERENCE_TIME = MetricSpec(
    "omlx_request_inference_time_seconds", Kind.HISTOGRAM, "seconds", "Prefill and decode together.", _MODEL, PART_SECONDS
)
REQUEST_PROMPT_TOKENS = MetricSpec(
    "omlx_request_prompt_tokens",
    Kind.HISTOGRAM,
    "tokens",
    "Tokens of the prompt, or of all that was embedded or reranked, of each request that came to its end.",
    _MODEL,
    _TOKENS,
)
REQUEST_GENERATION_TOKENS = MetricSpec(
    "omlx_request_generation_tokens",
    Kind.HISTOGRAM,
    "tokens",
    "Tokens generated for each request that came to its end, for all its choices.",
    _MODEL,
    _TOKENS,
)

# Engines: counters go on where an engine is replaced by another one of its model

REQUESTS_RUNNING = MetricSpec(
    "omlx_num_requests_running", Kind.GAUGE, "requests", "Requests in the engine's batch after its latest step.", _MODEL
)
REQUESTS_WAITING = MetricSpec(
    "omlx_num_requests_waiting", Kind.GAUGE, "requests", "Requests in the engine's queue after its latest step.", _MODEL
)
PREEMPTIONS = MetricSpec(
    "omlx_num_preemptions_total", Kind.COUNTER, "requests", "Requests that had to give their KV back and wait again.", _MODEL
)
BATCH_SIZE = MetricSpec(
    "omlx_batch_size", Kind.HISTOGRAM, "requests", "Requests in the engine's batch, step by step.", _MODEL, _BATCH
)
STEP_TIME = MetricSpec(
    "omlx_step_duration_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "What each step spent on a phase: schedule (deciding), forward (the model), sample (drawing tokens) and emit (passing them on).",
    ("model_name", "phase"),
    _STEP_SECONDS,
)
KV_USAGE = MetricSpec(
    "omlx_kv_cache_usage_perc",
    Kind.GAUGE,
    "ratio",
    "The part of the KV budget that the requests in the batch take, from 0 to 1 in spite of its name, which is vLLM's; 0 without a"
    " budget.",
    _MODEL,
)
KV_BYTES = MetricSpec(
    "omlx_kv_cache_bytes",
    Kind.GAUGE,
    "bytes",
    "Bytes of KV in memory, by tier: running (of the requests in the batch) and prefix (kept for requests to come).",
    ("model_name", "tier"),
)
KV_BUDGET = MetricSpec(
    "omlx_kv_cache_budget_bytes",
    Kind.GAUGE,
    "bytes",
    "Bytes that an engine's KV may take, of both tiers together; 0 where there is no bound.",
    _MODEL,
)
PREFIX_QUERIES = MetricSpec(
    "omlx_prefix_cache_queries_total",
    Kind.COUNTER,
    "tokens",
    "Tokens of prompts that were looked up among the kept KV.",
    _MODEL,
)
PREFIX_HITS = MetricSpec("omlx_prefix_cache_hits_total", Kind.COUNTER, "tokens", "Those of them that were found.", _MODEL)
PREFIX_EVICTIONS = MetricSpec(
    "omlx_prefix_cache_evictions_total", Kind.COUNTER, "blocks", "Blocks of kept KV that had to make room.", _MODEL
)

# Models and memory, as the catalog says when it is asked

CATALOG_UP = MetricSpec(
    "omlx_catalog_up", Kind.GAUGE, "ratio", "1 if the catalog answered this scrape; else what it says is missing."
)
MODELS_FOUND = MetricSpec("omlx_models_found", Kind.GAUGE, "models", "Models on disk.")
MODELS_SKIPPED = MetricSpec("omlx_models_skipped", Kind.GAUGE, "models", "Folders that hold something that can't be served.")
MODELS_LOADED = MetricSpec("omlx_models_loaded", Kind.GAUGE, "models", "Models with an engine that serves.")
ENGINES_READY = MetricSpec("omlx_engines_ready", Kind.GAUGE, "engines", "Engines that serve a loaded model.", _MODEL)
MODEL_MEMORY = MetricSpec(
    "omlx_model_memory_bytes", Kind.GAUGE, "bytes", "Bytes that a loaded model's engines take, as measured.", _MODEL
)
MEMORY_USED = MetricSpec("omlx_memory_used_bytes", Kind.GAUGE, "bytes", "Bytes that all engines take, as measured.")
MEMORY_RESERVED = MetricSpec(
    "omlx_memory_reserved_bytes", Kind.GAUGE, "bytes", "Bytes that engines were promised, or take if that is more."
)
MEMORY_BUDGET = MetricSpec("omlx_memory_budget_bytes", Kind.GAUGE, "bytes", "Bytes that all engines together may take.")
MODEL_LOADS = MetricSpec(
    "omlx_model_loads_total",
    Kind.COUNTER,
    "loads",
    "Loads of a model, by result: success, failed (the model's fault), crashed, no_memory, or not_started (no process to be had).",
    ("model_name", "result"),
)
LOAD_TIME = MetricSpec(
    "omlx_model_load_duration_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From the start of an engine's process until it serves.",
    _MODEL,
    _LOAD_SECONDS,
)
MODEL_EVICTIONS = MetricSpec(
    "omlx_model_evictions_total",
    Kind.COUNTER,
    "engines",
    "Engines that were let go unasked: memory (others needed it) or idle (nobody had asked for so long).",
    ("model_name", "reason"),
)
ENGINE_RESTARTS = MetricSpec(
    "omlx_engine_restarts_total", Kind.COUNTER, "engines", "Engines that were started again after a crash.", _MODEL
)

# This process

EVENT_LOOP_TASKS = MetricSpec(
    "omlx_event_loop_tasks",
    Kind.GAUGE,
    "tasks",
    "Tasks of the server's event loop, the scrape's own included; a few while nothing is asked.",
)
BUILD_INFO = MetricSpec("omlx_build_info", Kind.GAUGE, "ratio", "1, with the server's version.", ("version",))

METRICS = (
    *(HTTP_REQUESTS, HTTP_IN_FLIGHT, HTTP_SECONDS),
    *(REQUESTS, REQUEST_SUCCESS, REQUESTS_ABORTED, REQUESTS_REJECTED),
    *(PROMPT_TOKENS, CACHED_TOKENS, GENERATION_TOKENS, TOKENS_PER_SECOND),
    *(TIME_TO_FIRST_TOKEN, INTER_TOKEN_LATENCY, TIME_PER_OUTPUT_TOKEN, E2E_LATENCY),
    *(QUEUE_TIME, PREFILL_TIME, DECODE_TIME, INFERENCE_TIME, REQUEST_PROMPT_TOKENS, REQUEST_GENERATION_TOKENS),
    *(REQUESTS_RUNNING, REQUESTS_WAITING, PREEMPTIONS, BATCH_SIZE, STEP_TIME),
    *(KV_USAGE, KV_BYTES, KV_BUDGET, PREFIX_QUERIES, PREFIX_HITS, PREFIX_EVICTIONS),
    *(CATALOG_UP, MODELS_FOUND, MODELS_SKIPPED, MODELS_LOADED, ENGINES_READY),
    *(MODEL_MEMORY, MEMORY_USED, MEMORY_RESERVED, MEMORY_BUDGET, MODEL_LOADS, LOAD_TIME, MODEL_EVICTIONS, ENGINE_RESTARTS),
    *(EVENT_LOOP_TASKS, BUILD_INFO),
)
