"""One packed forward for decoding and prompts says what mlx-lm's own way says."""

import pytest

from scheduler.core import EngineCore
from scheduler.kv_cost import KvCost
from scheduler.mlx import attention, cpu
from scheduler.mlx.head import look_at_last_position
from scheduler.mlx.packed import can_pack
from scheduler.mlx.packed_runner import PackedRunner
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig
from tests.mlx.test_runner import PROMPTS, answers, reference, request
from tests.mlx.tiny import VOCABULARY, tiny_model

KINDS = ("llama", "moe")


@pytest.fixture(params=["cpu", "metal", "cuda"])
def packed(request, monkeypatch):
    """A plain model to compare with, and a runner over another one with the same weights, in each device's form."""
    monkeypatch.setattr(attention, "device_kind", lambda: request.param)

    def make(kind):
        model = tiny_model(kind)
        cpu.tune(at_once=False)
        head = look_at_last_position(model)
        assert can_pack(model, VOCABULARY)
        return tiny_model(kind), PackedRunner(model, head)

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1000, 4])
def test_every_row_says_what_it_says_alone(packed, kind, chunk):
    plain, runner = packed(kind)
    core = EngineCore(runner, SchedulerConfig(max_num_seqs=5, max_step_tokens=chunk))
    said = {}
    for n in range(len(PROMPTS)):
        core.add(request(n, 10 + 2 * n))
        for event in core.step().events:
            said.setdefault(event.request_id, []).append(event.token)
    for name, tokens in answers(core).items():
        said.setdefault(name, []).extend(tokens)
    assert said == {str(n): reference(plain, PROMPTS[n], 10 + 2 * n) for n in range(len(PROMPTS))}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_leave_and_be_taken_again(packed, kind):
    plain, runner = packed(kind)
    core = EngineCore(runner, SchedulerConfig(max_num_seqs=3, max_step_tokens=7))
    for n in range(6):
        core.add(request(n))
    said = {}
    for step in range(20):
        for event in core.step().events:
            said.setdefault(event.request_id, []).append(event.token)
        if step in (2, 9):
            core.abort(str(step % 4))  # 2 and 1
    for name, tokens in answers(core).items():
        said.setdefault(name, []).extend(tokens)
    for n in (0, 3, 4, 5):
        assert said[str(n)] == reference(plain, PROMPTS[n], 24)


def test_what_is_said_survives_preemption_and_long_rows(packed):
    plain, runner = packed("llama")
    config = SchedulerConfig(max_num_seqs=8, max_step_tokens=64, kv_cost=KvCost(per_token=1), kv_budget=700, reuse_kv=True)
    core = EngineCore(runner, config)
    prompts = {str(n): tuple((n * 13 + i * i) % VOCABULARY for i in range(140 + 20 * n)) for n in range(5)}
    for name, prompt in prompts.items():
        core.add(Request(name, prompt, 150, sampling=SamplingParams(temperature=0.0)))  # past the slab's first size
    assert answers(core) == {name: reference(plain, list(prompt), 150) for name, prompt in prompts.items()}
    assert core.stats.preemptions > 0


def test_models_that_dont_ask_their_caches_are_told_apart():
    cpu.tune(at_once=False)
    assert {kind: can_pack(tiny_model(kind), VOCABULARY) for kind in ("llama", "moe", "sliding", "hybrid")} == {
        "llama": True,
        "moe": True,
        "sliding": False,
        "hybrid": False,
    }
