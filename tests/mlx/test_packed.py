"""One packed forward for decoding and prompts says what mlx-lm's own way says."""

import mlx.core as mx
import pytest

from scheduler.core import EngineCore
from scheduler.kv_cost import KvCost
from scheduler.mlx import cpu
from scheduler.mlx.head import look_at_last_position
from scheduler.mlx.packed import Slab, can_pack
from scheduler.mlx.packed_runner import PackedRunner
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig
from tests.mlx.test_runner import PROMPTS, answers, reference, request
from tests.mlx.tiny import VOCABULARY, tiny_model

KINDS = ("llama", "moe")


def packed(kind):
    """A plain model to compare with, and a runner over another one with the same weights."""
    model = tiny_model(kind)
    cpu.tune()
    head = look_at_last_position(model)
    assert can_pack(model, VOCABULARY)
    return tiny_model(kind), PackedRunner(model, head)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1000, 4])
def test_every_row_says_what_it_says_alone(kind, chunk):
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
def test_rows_may_leave_and_be_taken_again(kind):
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


def test_what_is_said_survives_preemption_and_long_rows():
    plain, runner = packed("llama")
    config = SchedulerConfig(max_num_seqs=8, max_step_tokens=64, kv_cost=KvCost(per_token=1), kv_budget=700, reuse_kv=True)
    core = EngineCore(runner, config)
    prompts = {str(n): tuple((n * 13 + i * i) % VOCABULARY for i in range(140 + 20 * n)) for n in range(5)}
    for name, prompt in prompts.items():
        core.add(Request(name, prompt, 150, sampling=SamplingParams(temperature=0.0)))  # past the slab's first size
    assert answers(core) == {name: reference(plain, list(prompt), 150) for name, prompt in prompts.items()}
    assert core.stats.preemptions > 0


def test_models_that_dont_ask_their_caches_are_told_apart():
    cpu.tune()
    assert {kind: can_pack(tiny_model(kind), VOCABULARY) for kind in ("llama", "moe", "sliding", "hybrid")} == {
        "llama": True,
        "moe": True,
        "sliding": False,
        "hybrid": False,
    }


def test_rows_of_a_slab_are_taken_from_the_lowest():
    slab = Slab(1)
    assert [slab.take_row() for _ in range(3)] == [0, 1, 2]
    slab.free_row(2)
    slab.free_row(0)
    assert [slab.take_row() for _ in range(3)] == [0, 2, 3]


def test_a_slab_keeps_its_contents_when_it_grows():
    slab = Slab(1)
    row = slab.take_row()
    slab.reserve(4)
    new = mx.arange(8.0).reshape(1, 2, 4, 1)
    slab.write(0, (slice(row, row + 1), slice(None), slice(0, 4)), new, new + 1)
    slab.take_row()
    slab.reserve(300)
    slab.write(0, (slice(1, 2), slice(None), slice(296, 300)), new, new)
    keys, values = slab.copy(row, 0, 4)
    assert mx.array_equal(keys, new)
    assert mx.array_equal(values, new + 1)
