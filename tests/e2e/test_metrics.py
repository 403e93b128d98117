"""What the metrics say of a load is what its clients measured themselves."""

import asyncio
from collections import defaultdict

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.client import chat, closed_loop, greedy

MODEL = "SmolLM2-135M-Instruct"
CLIENTS = 4
TOKENS = 24


def scrape(server):
    """Every sample of the model, by its name; those of several labels together."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.labels.get("model_name") == MODEL]
    sums: defaultdict[str, float] = defaultdict(float)
    for sample in samples:
        if "le" not in sample.labels:
            sums[sample.name] += sample.value
    return sums


def test_sums_and_counts_are_those_of_the_clients(server):
    prompts = [f"Tell me something about the number {number}, which is {'quite ' * (number % 5)}odd." for number in range(12)]

    async def load():
        await chat(server.url, greedy(MODEL, "Hello", 2))  # so that it is loaded
        before = await asyncio.to_thread(scrape, server)
        answers = await closed_loop(lambda text: chat(server.url, greedy(MODEL, text, TOKENS, ignore_eos=True)), prompts, CLIENTS)
        return before, answers, await asyncio.to_thread(scrape, server)

    before, answers, after = asyncio.run(load())
    assert [answer.error for answer in answers] == [None] * len(prompts)
    measured = {name: value - before.get(name, 0.0) for name, value in after.items()}

    def agree(name, values):
        assert measured[f"omlx_{name}_count"] == len(values)
        assert measured[f"omlx_{name}_sum"] == pytest.approx(sum(values), rel=0.05), name

    agree("time_to_first_token_seconds", [answer.ttft for answer in answers])
    agree("e2e_request_latency_seconds", [answer.arrivals[-1] - answer.sent for answer in answers])
    decode = [answer.arrivals[-1] - answer.arrivals[0] for answer in answers]
    agree("request_decode_time_seconds", decode)
    per_token = [seconds / (answer.completion_tokens - 1) for seconds, answer in zip(decode, answers, strict=True)]
    agree("request_time_per_output_token_seconds", per_token)
    assert measured["omlx_inter_token_latency_seconds_count"] == sum(answer.completion_tokens - 1 for answer in answers)
    assert measured["omlx_inter_token_latency_seconds_sum"] == pytest.approx(sum(decode), rel=0.05)
    inference = measured["omlx_request_queue_time_seconds_sum"] + measured["omlx_request_inference_time_seconds_sum"]
    assert inference == pytest.approx(measured["omlx_e2e_request_latency_seconds_sum"], rel=0.05)
    agree("request_prompt_tokens", [answer.prompt_tokens for answer in answers])
    agree("request_generation_tokens", [answer.completion_tokens for answer in answers])
    assert measured["omlx_prompt_tokens_total"] == sum(answer.prompt_tokens for answer in answers)
    assert (
        measured["omlx_generation_tokens_total"] == sum(answer.completion_tokens for answer in answers) == TOKENS * len(prompts)
    )
    assert measured["omlx_prompt_tokens_cached_total"] == sum(answer.cached_tokens for answer in answers)
    assert measured["omlx_request_success_total"] == len(prompts)
