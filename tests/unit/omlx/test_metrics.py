"""What the engines and the catalog say is shown as it is when it is asked for, and all that is shown stands in the table."""

import asyncio

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families

from actors.contracts import Delta, ToolCall, Usage
from actors.control import LifeEvent
from actors.errors import CatalogError, EngineError
from actors.models import ModelType
from omlx.app import create_app
from omlx.metrics import spec
from omlx.metrics.metrics import Metrics
from omlx.metrics.rate import Rate
from scheduler.stats import SchedulerStats
from tests.fakes.catalog import served
from tests.fakes.http import get, send
from tests.fakes.services import FakeServices

CHAT = "/v1/chat/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def samples(text):
    """Every sample's value, by its name and then its labels' values in the order of the labels' names."""
    families = text_string_to_metric_families(text.decode())
    return {
        (each.name, *(value for _, value in sorted(each.labels.items()))): each.value
        for family in families
        for each in family.samples
    }


def scrape(metrics):
    text, content_type = asyncio.run(metrics.exposition(""))
    assert content_type.startswith("text/plain")
    return samples(text)


def test_each_engine_has_its_queue_and_its_kv_until_it_is_gone():
    engines = {"tiny": SchedulerStats(running=1, waiting=2, kv_bytes=300, kv_budget=4000, prefix_bytes=600)}
    metrics = Metrics(lambda: engines)
    shown = {key: value for key, value in scrape(metrics).items() if "tiny" in key}
    assert shown == {
        ("omlx_num_requests_running", "tiny"): 1,
        ("omlx_num_requests_waiting", "tiny"): 2,
        ("omlx_kv_cache_usage_perc", "tiny"): 300 / 4000,
        ("omlx_kv_cache_bytes", "tiny", "running"): 300,
        ("omlx_kv_cache_bytes", "tiny", "prefix"): 600,
        ("omlx_kv_cache_budget_bytes", "tiny"): 4000,
    }
    engines["tiny"] = SchedulerStats()
    assert scrape(metrics)["omlx_kv_cache_usage_perc", "tiny"] == 0  # no budget
    engines.clear()
    assert not any("tiny" in key for key in scrape(metrics))


def test_what_an_engine_counts_goes_on_with_the_next_engine_of_its_model():
    metrics = Metrics(dict)
    old, new = SchedulerStats(), SchedulerStats()
    for stats in (
        SchedulerStats(
            steps=1, running=3, preemptions=2, prefix_queries=70, prefix_hits=8, prefix_evictions=1, forward_seconds=0.2
        ),
        SchedulerStats(
            steps=3, running=1, preemptions=2, prefix_queries=90, prefix_hits=9, prefix_evictions=4, forward_seconds=0.6
        ),
    ):
        metrics.engines.stepped("tiny", old, stats)
        old = stats
    metrics.engines.stepped("tiny", new, SchedulerStats(steps=1, running=9, preemptions=1, schedule_seconds=0.001))
    shown = scrape(metrics)
    assert shown["omlx_num_preemptions_total", "tiny"] == 3
    assert shown["omlx_prefix_cache_queries_total", "tiny"] == 90
    assert shown["omlx_prefix_cache_hits_total", "tiny"] == 9
    assert shown["omlx_prefix_cache_evictions_total", "tiny"] == 4
    assert shown["omlx_batch_size_count", "tiny"] == 4
    assert shown["omlx_batch_size_sum", "tiny"] == 3 + 1 + 1 + 9
    assert shown["omlx_step_duration_seconds_sum", "tiny", "forward"] == pytest.approx(0.6)
    assert shown["omlx_step_duration_seconds_count", "tiny", "forward"] == 4
    assert shown["omlx_step_duration_seconds_bucket", "0.001", "tiny", "schedule"] == 4


def test_an_item_without_a_step_changes_nothing():
    metrics = Metrics(dict)
    stats = SchedulerStats(steps=5, running=1)
    metrics.engines.stepped("tiny", stats, stats)
    assert scrape(metrics)["omlx_batch_size_count", "tiny"] == 0


def test_what_becomes_of_engines_is_counted():
    metrics = Metrics(dict)
    for event in (
        LifeEvent("tiny", "load", "success", 3.0),
        LifeEvent("tiny", "load", "no_memory"),
        LifeEvent("tiny", "restart"),
        LifeEvent("tiny", "eviction", "idle"),
    ):
        metrics.engines.happened(event)
    shown = scrape(metrics)
    assert shown["omlx_model_loads_total", "tiny", "success"] == 1
    assert shown["omlx_model_loads_total", "tiny", "no_memory"] == 1
    assert shown["omlx_model_load_duration_seconds_sum", "tiny"] == 3
    assert shown["omlx_model_load_duration_seconds_count", "tiny"] == 1
    assert shown["omlx_engine_restarts_total", "tiny"] == 1
    assert shown["omlx_model_evictions_total", "tiny", "idle"] == 1
    assert shown["omlx_model_evictions_total", "tiny", "memory"] == 0


def test_counters_are_there_before_they_count_so_that_the_first_rise_is_seen():
    metrics = Metrics(dict)
    metrics.engines.happened(LifeEvent("tiny", "load", "success", 3.0))
    shown = scrape(metrics)
    for name in ("prompt_tokens", "prompt_tokens_cached", "generation_tokens", "requests_aborted", "engine_restarts"):
        assert shown[f"omlx_{name}_total", "tiny"] == 0
    for reason in ("stop", "length", "tool_calls"):
        assert shown["omlx_request_success_total", reason, "tiny"] == 0


def test_models_and_memory_are_as_the_catalog_says_at_the_scrape():
    services = FakeServices(models=("tiny", "other"))
    app = create_app(services)
    asyncio.run(services.catalog.load("tiny"))
    shown = samples(get(app, "/metrics").body)
    assert shown["omlx_catalog_up",] == 1
    assert (shown["omlx_models_found",], shown["omlx_models_loaded",], shown["omlx_models_skipped",]) == (2, 1, 0)
    assert shown["omlx_engines_ready", "tiny"] == 1
    assert shown["omlx_model_memory_bytes", "tiny"] == 1000
    memory = [shown[f"omlx_memory_{name}_bytes",] for name in ("budget", "reserved", "used")]
    assert memory == [4000, 1100, 1000]
    assert ("omlx_engines_ready", "other") not in shown


def test_a_catalog_that_does_not_answer_leaves_the_rest():
    services = FakeServices()

    async def unreachable():
        raise CatalogError("It can't be reached.")

    services.catalog.status = unreachable
    shown = samples(get(create_app(services), "/metrics").body)
    assert shown["omlx_catalog_up",] == 0
    assert ("omlx_models_found",) not in shown
    assert shown["omlx_event_loop_tasks",] >= 1


def test_a_rate_is_of_the_last_ten_whole_seconds():
    now = 100.0
    rate = Rate(lambda: now)
    rate.add(30)
    assert rate.per_second() == 0  # the running second isn't over
    now = 101.5
    rate.add(10)
    rate.add(10)
    assert rate.per_second() == 3
    now = 102.0
    assert rate.per_second() == 5
    now = 111.0
    assert rate.per_second() == 2
    now = 112.0
    assert rate.per_second() == 0
    rate.add(1)
    now = 113.0
    assert rate.per_second() == 0.1


def used_app():
    """An app of which everything is known once."""
    services = FakeServices(("a", "b"), models=("tiny",))
    app = create_app(services)
    asyncio.run(services.catalog.load("tiny"))
    services.observer.stepped("tiny", SchedulerStats(), SchedulerStats(steps=1))
    services.observer.happened(LifeEvent("tiny", "load", "success", 1.0))
    send(app, CHAT, HELLO)
    send(app, CHAT, HELLO | {"max_tokens": -1})
    return app


def test_what_is_scraped_is_what_the_table_says():
    families = {f.name: f for f in text_string_to_metric_families(get(used_app(), "/metrics").body.decode())}
    for metric in spec.METRICS:
        family = families.pop(metric.name.removesuffix("_total"))
        assert family.type == metric.kind.value
        assert family.documentation == metric.help
        assert family.samples, metric.name
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        assert labels == set(metric.labels)
        assert (metric.kind is spec.Kind.COUNTER) == metric.name.endswith("_total")
        bounds = {float(s.labels["le"]) for s in family.samples if "le" in s.labels}
        assert bounds == ({*metric.buckets, float("inf")} if metric.buckets else set())
    assert all(name.startswith("process_") for name in families), "a metric that the table doesn't have"


def test_open_metrics_are_to_be_had_by_asking():
    app = used_app()
    answer = get(app, "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")
    names = {family.name for family in open_metrics_families(answer.body.decode())}
    assert {metric.name.removesuffix("_total") for metric in spec.METRICS} <= names
    plain = get(app, "/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert b"_created" not in plain.body


def test_bounds_hold_those_that_other_tools_expect():
    otel = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
    vllm = (
        0.3,
        0.5,
        0.8,
        1.0,
        1.5,
        2.0,
        2.5,
        5.0,
        10.0,
        15.0,
        20.0,
        30.0,
        40.0,
        50.0,
        60.0,
        120.0,
        240.0,
        480.0,
        960.0,
        1920.0,
        7680.0,
    )
    assert {*otel, *vllm} == set(spec.E2E_LATENCY.buckets)
    assert {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5} <= set(spec.INTER_TOKEN_LATENCY.buckets)
    assert {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0} <= set(
        spec.TIME_TO_FIRST_TOKEN.buckets
    )
    for metric in spec.METRICS:
        assert list(metric.buckets) == sorted(set(metric.buckets))


@pytest.mark.parametrize("metric", spec.METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_after_its_unit(metric):
    assert metric.name.startswith("omlx_")
    stem = metric.name.removesuffix("_total")
    assert stem.endswith(f"_{metric.unit}") or metric.unit not in ("seconds", "bytes")
    assert metric.help.endswith(".")


# What is measured of requests to models


def values(app, name):
    """The values of a metric's samples, by its labels' values but for the model's."""
    return {key[1:]: value for key, value in samples(get(app, "/metrics").body).items() if key[0] == name}


def test_a_request_is_measured_from_its_arrival_to_its_end():
    app = create_app(FakeServices(("a", "b")))
    send(app, CHAT, HELLO)
    send(app, CHAT, HELLO | {"stream": True})
    shown = samples(get(app, "/metrics").body)
    assert shown["omlx_request_success_total", "stop", "tiny"] == 2
    assert shown["omlx_prompt_tokens_total", "tiny"] == 10
    assert shown["omlx_generation_tokens_total", "tiny"] == 6
    for name in ("time_to_first_token", "request_time_per_output_token", "e2e_request_latency", "request_queue_time",
                 "request_prefill_time", "request_decode_time", "request_inference_time"):  # fmt: skip
        assert shown[f"omlx_{name}_seconds_count", "tiny"] == 2, name
    assert shown["omlx_inter_token_latency_seconds_count", "tiny"] == 4
    between = shown["omlx_e2e_request_latency_seconds_sum", "tiny"] - shown["omlx_time_to_first_token_seconds_sum", "tiny"]
    assert shown["omlx_inter_token_latency_seconds_sum", "tiny"] == pytest.approx(between)
    assert shown["omlx_request_prompt_tokens_sum", "tiny"] == 10
    assert shown["omlx_request_generation_tokens_sum", "tiny"] == 6


def test_a_request_with_several_choices_is_measured_as_one():
    app = create_app(FakeServices(("a", Delta("", "b", 1, "length", index=1), "c")))
    send(app, CHAT, HELLO | {"n": 2})
    assert values(app, "omlx_request_success_total") == {("stop", "tiny"): 1}
    assert values(app, "omlx_prompt_tokens_total") == {("tiny",): 5}
    assert values(app, "omlx_generation_tokens_total") == {("tiny",): 5}
    assert values(app, "omlx_e2e_request_latency_seconds_count") == {("tiny",): 1}
    assert values(app, "omlx_inter_token_latency_seconds_count") == {("tiny",): 3}  # each choice's own


BGE = served("bge", ModelType.EMBEDDING)
JUDGE = served("judge", ModelType.RERANKER)


def test_an_answer_that_calls_tools_is_a_success():
    calls = Delta("", "", 1, "tool_calls", Usage(5, 2), tool_calls=(ToolCall("a", "f", "{}"),))
    app = create_app(FakeServices((Delta("", "", 1, reasoning="Hm"), calls)))
    assert send(app, "/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}).status == 200
    assert values(app, "omlx_request_success_total") == {("tool_calls", "tiny"): 1}
    assert values(app, "omlx_generation_tokens_total") == {("tiny",): 2}


def test_vectors_and_scores_are_measured_as_far_as_they_are_like_text():
    app = create_app(FakeServices(models=(BGE, JUDGE)))
    send(app, "/v1/embeddings", {"model": "bge", "input": ["Hello", "you"]})
    send(app, "/v1/embeddings", {"model": "bge", "input": "Hello"})
    send(app, "/v2/rerank", {"model": "judge", "query": "ab", "documents": ["a", "b"]})
    assert values(app, "omlx_requests_total") == {
        ("/v1/embeddings", "stop", "bge", "200"): 2,
        ("/v2/rerank", "stop", "judge", "200"): 1,
    }
    assert values(app, "omlx_request_success_total") == {("stop", "bge"): 2, ("stop", "judge"): 1}
    for name in ("prompt_tokens_total", "request_prompt_tokens_sum"):
        assert values(app, f"omlx_{name}") == {("bge",): 13, ("judge",): 6}
    for name in ("e2e_request_latency_seconds", "request_prompt_tokens"):
        assert values(app, f"omlx_{name}_count") == {("bge",): 2, ("judge",): 1}
    assert all(seconds > 0 for seconds in values(app, "omlx_e2e_request_latency_seconds_sum").values())
    for name in ("time_to_first_token_seconds", "request_queue_time_seconds", "request_inference_time_seconds",
                 "request_generation_tokens", "inter_token_latency_seconds"):  # fmt: skip
        assert values(app, f"omlx_{name}_count") == {}, name
    assert values(app, "omlx_generation_tokens_per_second") == {}


def test_vectors_that_are_refused_say_why():
    app = create_app(FakeServices(models=(BGE, "tiny"), refusal=EngineError("bge", "killed")))
    for body in ({"model": "bge"}, {"model": "tiny"}, {"model": "nonsense"}, {"model": "bge", "dimensions": 0}):
        send(app, "/v1/embeddings", body | {"input": "Hello"})
    assert values(app, "omlx_requests_rejected_total") == {
        ("bge", "engine_died"): 1,
        ("", "wrong_model_type"): 1,
        ("", "model_not_found"): 1,
        ("", "invalid_value"): 1,
    }
    assert values(app, "omlx_prompt_tokens_total") == {}
    assert values(app, "omlx_request_success_total") == {}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_breaks_off_is_no_success(stream):
    app = create_app(FakeServices(("a", EngineError("tiny", "killed"))))
    send(app, CHAT, HELLO | {"stream": stream})
    assert values(app, "omlx_generation_tokens_total") == {("tiny",): 1}
    assert values(app, "omlx_request_success_total") == {}
    assert values(app, "omlx_requests_total") == {(CHAT, "error", "tiny", "200" if stream else "503"): 1}
    assert values(app, "omlx_requests_rejected_total") == {}
    assert values(app, "omlx_requests_aborted_total") == {}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_is_refused_says_why_and_makes_no_series_of_names_that_are_not_there(stream):
    app = create_app(FakeServices(refusal=EngineError("tiny", "killed")))
    for body in (HELLO, HELLO | {"model": "unknown"}, HELLO | {"model": "nonsense"}, {"messages": 5}):
        send(app, CHAT, body | {"stream": stream})
    assert values(app, "omlx_requests_rejected_total") == {
        ("tiny", "engine_died"): 1,
        ("", "model_not_found"): 2,
        ("", "invalid_type"): 1,
    }
    assert values(app, "omlx_requests_total") == {
        (CHAT, "", "tiny", "503"): 1,
        (CHAT, "", "", "404"): 2,
        (CHAT, "", "", "400"): 1,
    }
