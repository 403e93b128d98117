"""The demo model's greedy tokens are the same whatever happens around a request: company, preemption, kept KV, small chunks.

No HTTP here: the engine core, the runner that the loader chose, and real prompts through the model's chat template.
"""

from dataclasses import dataclass, replace

import pytest

from actors.catalog.discovery import Discovery
from actors.contracts import ChatPrompt, Job
from actors.engine.text import encode_prompt
from scheduler.core import EngineCore
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig

TOKENS = 24
GREEDY = SamplingParams(temperature=0.0, logprobs=2)
STORY = (
    "The lighthouse stood at the end of a narrow pier. Every evening its keeper, an old woman with a lantern, climbed the "
    "hundred and twelve steps to the lamp, wound the clockwork, and wrote the weather into a book. One night in November "
    "the book was gone. She looked under the bed, behind the stove and in the boat. In its place lay a feather, grey and wet. "
)
QUESTIONS = (
    "What is the capital of France?",
    f"{STORY}Who took the book? Answer in a few sentences.",
    "Explain photosynthesis to a child who has never seen a forest but knows the sea well.",
    f"{STORY}Write down what the keeper does next.",
    "Translate into English: Der Leuchtturm steht am Ende der Mole.",
)
# Summing up in another order moves a logprob by some 1e-5 here. Two tokens that are closer than this could change places
# without anything being wrong; none of these answers comes near it.
NEAR_TIE = 0.01
ROUNDING = 0.001


@dataclass(frozen=True)
class Run:
    """What came of some requests.

    Attributes:
        tokens, logprobs: Of each answer.
        margins: By how much each token was likelier than the next, of each answer.
        cached: Prompt tokens that were not computed, of each answer.
        chunks: Into how many each prompt was cut.
        widest: The most sequences that one step decoded.
        stats: The core's, at the end.
    """

    tokens: dict
    logprobs: dict
    margins: dict
    cached: dict
    chunks: dict
    widest: int
    stats: object


class Watched:
    """A runner, and the plans that it was given."""

    def __init__(self, runner):
        self._runner = runner
        self.looks_ahead = runner.looks_ahead
        self.launch_blocks = runner.launch_blocks
        self.chunks = {}
        self.widest = 0

    def run(self, plan):
        self.widest = max(self.widest, len(plan.decode))
        for chunk in plan.prefill:
            name = chunk.sequence.request_id
            self.chunks[name] = self.chunks.get(name, 0) + 1
        return self._runner.run(plan)


@pytest.fixture(scope="module")
def backend(demo_models):
    from actors.engine.loader import load_backend  # puts a BLAS in front of MLX

    return load_backend(Discovery((demo_models,)).scan().models["SmolLM2-135M-Instruct"])


@pytest.fixture(scope="module")
def prompts(backend):
    def encoded(question):
        job = Job("r", ChatPrompt(({"role": "user", "content": question},)))
        return encode_prompt(backend.tokenizer, backend.vocabulary, job)

    return [encoded(question) for question in QUESTIONS]


def run(core, runner, prompts):
    """Everything at once, to the end."""
    for n, prompt in enumerate(prompts):
        core.add(Request(str(n), prompt, TOKENS, sampling=GREEDY))
    events = {str(n): [] for n in range(len(prompts))}
    while core.has_work:
        for event in core.step().events:
            events[event.request_id].append(event)
    core.check_integrity()

    def each(value):
        return {name: [value(event) for event in mine] for name, mine in events.items()}

    return Run(
        tokens=each(lambda event: event.token),
        logprobs=each(lambda event: event.logprobs.logprob),
        margins=each(lambda event: event.logprobs.top[0][1] - event.logprobs.top[1][1]),
        cached={name: mine[0].cached_tokens for name, mine in events.items()},
        chunks=runner.chunks,
        widest=runner.widest,
        stats=core.stats,
    )


def fresh(backend, **bounds):
    """A core of its own over the one model, and its watched runner. Prompts go in at once, however slow the machine is."""
    runner = Watched(backend.runner)
    bounds = {"max_num_seqs": 8, "max_decode_stall": 60.0, "kv_cost": backend.kv_cost} | bounds
    return EngineCore(runner, SchedulerConfig(**bounds)), runner


@pytest.fixture(scope="module")
def alone(backend, prompts):
    """What each says when nobody else is there."""
    runs = [run(*fresh(backend), [prompt]) for prompt in prompts]
    assert {each.widest for each in runs} == {1}
    return {str(n): (each.tokens["0"], each.logprobs["0"], each.margins["0"]) for n, each in enumerate(runs)}


def assert_same(together, alone):
    assert together.tokens == {name: tokens for name, (tokens, _, _) in alone.items()}
    for name, (_, logprobs, _) in alone.items():
        assert together.logprobs[name] == pytest.approx(logprobs, abs=ROUNDING)


def test_no_answer_hangs_on_a_near_tie(alone, prompts):
    lengths = [len(prompt) for prompt in prompts]
    assert len(set(lengths)) == len(lengths)
    assert [len(tokens) for tokens, _, _ in alone.values()] == [TOKENS] * len(prompts)
    assert len({tuple(tokens) for tokens, _, _ in alone.values()}) == len(prompts)
    assert min(margin for _, _, margins in alone.values() for margin in margins) > NEAR_TIE


def test_in_company(backend, prompts, alone):
    together = run(*fresh(backend), prompts)
    assert together.widest == len(prompts)
    assert_same(together, alone)


def test_after_preemption(backend, prompts, alone):
    cost = replace(backend.kv_cost, granule=1, coarse=0)
    # All prompts fit with what a newcomer must find room for, and their answers don't.
    budget = cost.of(sum(map(len, prompts)) + TOKENS * len(prompts) // 2)
    together = run(*fresh(backend, kv_cost=cost, kv_budget=budget), prompts)
    assert together.stats.preemptions > 0
    assert_same(together, alone)


def test_with_kept_kv(backend, prompts, alone):
    core, runner = fresh(backend, reuse_kv=True)
    assert_same(run(core, runner, prompts), alone)
    before = core.stats.prefix_hits
    again = run(core, runner, prompts)
    assert again.stats.prefix_hits - before == sum(again.cached.values())
    assert all(cached >= len(prompt) // 2 for cached, prompt in zip(again.cached.values(), prompts, strict=True))
    assert_same(again, alone)


def test_in_small_chunks(backend, prompts, alone):
    together = run(*fresh(backend, max_step_tokens=16), prompts)
    assert min(together.chunks.values()) > 1
    assert max(together.chunks.values()) > 8
    assert_same(together, alone)
