"""How panels ask for metrics."""

import pytest

from dashboards import promql
from omlx.metrics import spec


def test_what_models_count_is_asked_for_the_chosen_ones():
    assert promql.rate(spec.GENERATION_TOKENS, by="model_name") == (
        'sum by (model_name) (rate(omlx_generation_tokens_total{model_name=~"$model"}[$__rate_interval]))'
    )
    assert promql.total(spec.MEMORY_USED) == "sum(omlx_memory_used_bytes)"


def test_a_quantile_keeps_the_buckets_apart():
    assert promql.quantile(0.95, spec.LOAD_TIME, by="model_name") == (
        "histogram_quantile(0.95, sum by (le, model_name) "
        '(rate(omlx_model_load_duration_seconds_bucket{model_name=~"$model"}[$__rate_interval])))'
    )


def test_a_histogram_is_asked_for_by_its_parts_and_nothing_else_is():
    with pytest.raises(AssertionError, match="omlx_batch_size"):
        promql.series(spec.BATCH_SIZE)
    with pytest.raises(AssertionError, match="omlx_memory_used_bytes"):
        promql.series(spec.MEMORY_USED, part="_sum")
