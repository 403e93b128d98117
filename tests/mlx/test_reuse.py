"""What begins with kept KV says what it says without, and the model sees the fewer tokens."""

import pytest
from mlx_lm.models.cache import make_prompt_cache

from scheduler.core import EngineCore
from scheduler.kv_cost import KvCost
from scheduler.mlx import cpu
from scheduler.mlx.cache import can_reuse
from scheduler.mlx.head import look_at_last_position
from scheduler.mlx.packed_runner import PackedRunner
from scheduler.mlx.runner import MlxRunner
from scheduler.request import Request
from scheduler.scheduler import SchedulerConfig
from tests.mlx.test_runner import GREEDY, PROMPTS, reference
from tests.mlx.tiny import CONFIGS, VOCABULARY, tiny_model

PLAIN = [kind for kind in CONFIGS if can_reuse(make_prompt_cache(tiny_model(kind)))]
RUNNERS = [(kind, packed) for kind in PLAIN for packed in (False, True)]
PROMPT = [(11 * i * i + i) % VOCABULARY for i in range(100)]


class Counting:
    """A model that counts the tokens it sees."""

    def __init__(self, model):
        self._model = model
        self.seen = 0

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, inputs, cache):
        self.seen += inputs.size
        return self._model(inputs, cache=cache)


class Served:
    """A tiny model behind an engine's core, and the same model to compare with."""

    def __init__(self, kind, packed=False, **config):
        self.plain = tiny_model(kind)
        model = tiny_model(kind)
        cpu.tune()
        self.model = Counting(model)
        runner = PackedRunner(self.model, look_at_last_position(model)) if packed else MlxRunner(self.model)
        config = {"max_step_tokens": 50, "kv_cost": KvCost(per_token=1)} | config
        self.core = EngineCore(runner, SchedulerConfig(reuse_kv=True, **config))

    def ask(self, *prompts, count=20):
        """Ask several at once: (answer, how many of the prompt's tokens were cached) of each. All are checked."""
        for n, prompt in enumerate(prompts):
            self.core.add(Request(str(n), tuple(prompt), count, sampling=GREEDY))
        before = self.model.seen
        said, cached = {}, {}
        while self.core.has_work:
            for event in self.core.step().events:
                said.setdefault(event.request_id, []).append(event.token)
                cached[event.request_id] = event.cached_tokens
            self.core.check_integrity()
        for n, prompt in enumerate(prompts):
            assert said[str(n)] == reference(self.plain, prompt, count)
        if not self.core.stats.preemptions:
            fed = sum(len(prompt) + count - 1 - cached[str(n)] for n, prompt in enumerate(prompts))
            assert self.model.seen - before == fed
        return [(said[str(n)], cached[str(n)]) for n in range(len(prompts))]


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_the_next_turn_feeds_what_is_new_of_it(kind, packed):
    served = Served(kind, packed)
    prompt, length = PROMPT[:70], 70
    for _ in range(5):
        ((said, _),) = served.ask(prompt)
        length = len(prompt) + len(said) - 1  # the answer's last token was never fed
        prompt = [*prompt, *said, 7, 8, 9]
        ((_, cached),) = served.ask(prompt, count=1)
        assert cached == length


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_a_prompt_goes_on_from_where_it_differs(kind, packed):
    served = Served(kind, packed)
    served.ask(PROMPT)
    for length in (99, 97, 96, 95, 64, 50, 33, 32, 31, 1, 0):
        other = (PROMPT[length] + 1 + length % 3) % VOCABULARY
        ((_, cached),) = served.ask([*PROMPT[:length], other, 5, 6], count=6)
        assert cached == length


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_many_at_once_begin_alike(kind, packed):
    served = Served(kind, packed)
    prompts = [[*PROMPT[: 90 - n], *PROMPTS[n]] for n in range(6)]
    served.ask(*prompts, count=30)
    cached = [cached for _, cached in served.ask(*prompts, count=30)]
    assert cached == [len(prompt) - 1 for prompt in prompts]


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_what_is_said_is_the_same_while_kv_is_evicted_and_whoever_yielded_goes_on(kind, packed):
    served = Served(kind, packed, max_num_seqs=4, kv_budget=400)
    for turn in range(3):
        served.ask(*([*PROMPT[: 30 * n + 5 * turn], *PROMPTS[n], turn] for n in range(4)), count=60)
    assert served.core.stats.prefix_evictions > 10
    assert served.core.stats.preemptions > 0
    assert served.core.stats.prefix_hits > 200
