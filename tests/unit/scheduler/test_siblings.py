"""Sequences of one prompt have it fed once, as far as there is room, and each ends for itself."""

import pytest

from scheduler.core import EngineCore
from scheduler.kv_cost import KvCost
from scheduler.policy import FairShare, FirstComeFirstServed
from scheduler.scheduler import DuplicateRequestError, RequestTooLargeError, SchedulerConfig
from tests.fakes.model import END, EchoRunner
from tests.unit.scheduler.test_scheduler import advance, kv_scheduler, request, run_all, scheduler_of, tokens_of


def choices(count, prompt=(1, 2, 3), **options):
    return [request(f"c{index}", prompt, **options) for index in range(count)]


def said(events):
    answers = {}
    for event in events:
        answers.setdefault(event.request_id, []).append(event.token)
    return answers


class Ledger(FirstComeFirstServed):
    """Keeps what is charged."""

    def __init__(self):
        super().__init__()
        self.prompts = []
        self.outputs = 0

    def charge(self, sequence, input_tokens, output_tokens):
        if input_tokens:
            self.prompts.append((sequence.request_id, input_tokens))
        self.outputs += output_tokens


def test_a_prompt_is_fed_and_charged_once_for_all_that_find_room():
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(), ledger := Ledger())
    core.add(*choices(4, range(50)))
    events = core.step().events
    assert [event.request_id for event in events] == ["c0", "c1", "c2", "c3"]
    (chunk,) = runner.plans[0].prefill
    assert [fork.request_id for fork in chunk.forks] == ["c1", "c2", "c3"]
    events += tuple(run_all(core))
    assert said(events) == {f"c{index}": [*range(50), END] for index in range(4)}
    assert core.stats.prompt_tokens == 50
    assert ledger.prompts == [("c0", 50)]
    assert ledger.outputs == 4 * 51
    assert runner.rows == set()


def test_siblings_wait_until_the_prompts_last_chunk():
    scheduler = scheduler_of(max_step_tokens=4)
    scheduler.add(*choices(3, range(10)))
    for _ in range(2):
        assert [chunk.forks for chunk in advance(scheduler).prefill] == [()]
        assert (scheduler.num_running, scheduler.num_waiting) == (1, 2)
        scheduler.check_integrity()
    (last,) = advance(scheduler).prefill
    assert (last.start, last.stop, len(last.forks)) == (8, 10, 2)
    assert (scheduler.num_running, scheduler.num_waiting) == (3, 0)
    assert len(advance(scheduler).decode) == 3


def test_a_fork_has_waited_and_was_spared_as_much_as_its_leader():
    clock = iter([10.0, 12.0, 15.0])  # added, admitted, first tokens
    scheduler = scheduler_of(clock=lambda: next(clock))
    scheduler.add(*choices(2))
    for event in scheduler.commit(tokens_of(scheduler.schedule()), 0.01):
        assert (event.timing.queue, event.timing.prefill) == (2.0, 3.0)
    core = EngineCore(EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), reuse_kv=True))
    core.add(request("before", range(70)))
    run_all(core)
    core.add(*choices(3, range(70)))
    assert {event.cached_tokens for event in run_all(core)} == {69}


def test_those_without_a_row_follow_and_share_the_prompt_again():
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(max_num_seqs=2))
    core.add(*choices(5, range(20)))
    events = list(core.step().events)
    assert (core.stats.running, core.stats.waiting) == (2, 3)
    core.check_integrity()
    events += run_all(core)
    assert said(events) == {f"c{index}": [*range(20), END] for index in range(5)}
    assert core.stats.prompt_tokens == 3 * 20  # two, two and one
    assert max(len(plan.decode) for plan in runner.plans) == 2


def test_those_without_room_for_their_kv_follow():
    core = EngineCore(EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), kv_budget=200))
    core.add(*choices(4, range(60), max_tokens=70))
    core.step()
    assert (core.stats.running, core.stats.waiting) == (2, 2)  # 60, and 60 + 32; a third one would take 212
    events = run_all(core)
    assert {name: len(tokens) for name, tokens in said(events).items()} == {"c0": 60, "c1": 60, "c2": 61, "c3": 61}


def test_nobody_takes_the_places_of_those_whose_prompt_is_being_fed():
    scheduler = scheduler_of(max_num_seqs=4, max_step_tokens=5)
    scheduler.add(*choices(3, range(12)))
    for name in ("x", "y"):
        scheduler.add(request(name))
    advance(scheduler)
    assert (scheduler.num_running, scheduler.num_waiting) == (2, 3)  # c0 and x
    advance(scheduler)
    assert len(advance(scheduler).prefill[0].forks) == 2
    assert (scheduler.num_running, scheduler.num_waiting) == (4, 1)


def test_nobody_takes_the_kv_room_of_those_whose_prompt_is_being_fed():
    scheduler = kv_scheduler(220, max_step_tokens=30)
    scheduler.add(*choices(2, range(60)))  # 92 each
    scheduler.add(request("x", range(60)))
    advance(scheduler)
    assert scheduler.num_running == 1
    assert len(advance(scheduler).prefill[0].forks) == 1
    assert scheduler.num_waiting == 1


@pytest.mark.parametrize("steps", [0, 1])
def test_when_a_leader_is_aborted_the_next_one_has_the_prompt_fed_for_the_rest(steps):
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(max_step_tokens=8))
    core.add(*choices(3, range(10)))
    for _ in range(steps):
        core.step()
    assert core.abort("c0")
    core.check_integrity()
    assert said(run_all(core)) == {name: [*range(10), END] for name in ("c1", "c2")}
    (last,) = [chunk for plan in runner.plans for chunk in plan.prefill if chunk.is_last]
    assert [sequence.request_id for sequence in last.sampled] == ["c1", "c2"]


def test_a_sibling_that_waits_may_be_aborted():
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(max_step_tokens=8))
    core.add(*choices(3, range(10)))
    core.step()
    assert core.abort("c1")
    core.check_integrity()
    assert not core.abort("c1")
    assert said(run_all(core)) == {name: [*range(10), END] for name in ("c0", "c2")}
    core.add(*choices(3, range(10)))
    core.step()
    for name in ("c2", "c1", "c0"):
        assert core.abort(name)
    core.step()
    assert not core.has_work
    assert runner.rows == set()


def test_siblings_go_on_waiting_for_a_leader_that_is_preempted():
    scheduler = kv_scheduler(125, max_step_tokens=1)
    scheduler.add(request("old", range(10), max_tokens=90))
    for _ in range(10):
        advance(scheduler)
    scheduler.add(*choices(3, range(80), max_tokens=30))
    for _ in range(40):
        advance(scheduler)
        scheduler.check_integrity()
    assert scheduler.num_preemptions == 1
    assert (scheduler.num_running, scheduler.num_waiting) == (1, 3)
    scheduler.abort("old")
    chunks = [chunk for _ in range(80) for chunk in advance(scheduler).prefill]
    assert [(chunk.sequence.request_id, chunk.stop) for chunk in chunks if chunk.is_last] == [("c0", 80)]
    assert (scheduler.num_running, scheduler.num_waiting) == (1, 2)


def test_a_fork_outlives_its_leader_and_is_served_to_its_end():
    core = EngineCore(EchoRunner(), SchedulerConfig(), FairShare())
    core.add(request("c0", range(9), max_tokens=1), request("c1", range(9)))
    assert said(run_all(core)) == {"c0": [0], "c1": [*range(9), END]}


def test_forks_take_the_room_of_what_is_kept():
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), kv_budget=400, reuse_kv=True))
    core.add(request("before", range(200), max_tokens=1))
    run_all(core)
    assert runner.kept_tokens == 200
    core.add(*choices(3, range(100, 190)))
    core.step()
    assert core.stats.running == 3
    assert len(runner.blocks) * 32 <= 400 - 3 * 90


def test_requests_that_dont_belong_together_are_refused_and_none_is_queued():
    scheduler = kv_scheduler(103)
    scheduler.add(request("here"))
    for others, error in (
        ([request("b", (9,))], ValueError),
        ([request("b", client="else")], ValueError),
        ([request("b", priority=1)], ValueError),
        ([request("here")], DuplicateRequestError),
        ([request("a")], DuplicateRequestError),
        ([request("b", max_tokens=101)], RequestTooLargeError),
    ):
        with pytest.raises(error):
            scheduler.add(request("a", max_tokens=5), *others)
    assert scheduler.request_ids() == ("here",)
    assert scheduler.num_waiting == 1


def test_a_lost_sibling_is_noticed():
    scheduler = scheduler_of()
    scheduler.add(*choices(2))
    (waiting,) = scheduler._siblings
    scheduler._siblings.remove(waiting)
    with pytest.raises(AssertionError, match="lost"):
        scheduler.check_integrity()
