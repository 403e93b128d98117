"""The engines' numbers are shown as they are when they are asked for."""

from prometheus_client.parser import text_string_to_metric_families

from omlx.metrics.registry import Metrics
from scheduler.stats import SchedulerStats


def scrape(metrics):
    families = text_string_to_metric_families(metrics.exposition().decode())
    samples = [sample for family in families for sample in family.samples]
    return {sample.name: sample.value for sample in samples if sample.labels.get("model_name") == "tiny"}


def test_each_engine_has_its_queue_and_its_caches_until_it_is_gone():
    engines = {"tiny": SchedulerStats(1, 2, 300, 4000, 5, 600, 70, 8)}
    metrics = Metrics(lambda: engines)
    assert scrape(metrics) == {
        "omlx_num_requests_running": 1,
        "omlx_num_requests_waiting": 2,
        "omlx_kv_cache_bytes": 300,
        "omlx_kv_cache_budget_bytes": 4000,
        "omlx_num_preemptions_total": 5,
        "omlx_prefix_cache_bytes": 600,
        "omlx_prefix_cache_queries_total": 70,
        "omlx_prefix_cache_hits_total": 8,
    }
    engines.clear()
    assert scrape(metrics) == {}
