"""The scheduler decides as its docstrings say, and its books balance after anything."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scheduler.core import EngineCore
from scheduler.kv_cost import KvCost
from scheduler.policy import FirstComeFirstServed
from scheduler.prefix_cache import BLOCK_TOKENS
from scheduler.request import FinishReason, Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import DuplicateRequestError, RequestTooLargeError, Scheduler, SchedulerConfig
from scheduler.step import StepResult
from tests.fakes.model import END, EchoRunner


def request(name, prompt=(1, 2, 3), **options):
    options.setdefault("max_tokens", 100)
    return Request(name, tuple(prompt), stop_token_ids=frozenset({END}), **options)


def tokens_of(plan):
    """A result that gives every sequence that is owed a token the token 7."""
    owed = [*plan.decode, *(sequence for chunk in plan.prefill for sequence in chunk.sampled)]
    return StepResult({sequence.request_id: 7 for sequence in owed})


def run_all(core):
    events = []
    while core.has_work:
        events += core.step().events
    return events


def test_requests_join_between_steps_and_share_the_batch():
    core = EngineCore(runner := EchoRunner(), SchedulerConfig())
    core.add(request("a", prompt=range(5)))
    core.step()
    core.add(request("b", prompt=range(3)))
    core.step()
    core.step()
    assert [s.request_id for s in runner.plans[-1].decode] == ["a", "b"]


def scheduler_of(clock=None, policy=None, **config):
    options = {} if clock is None else {"clock": clock}
    return Scheduler(SchedulerConfig(**config), policy or FirstComeFirstServed(), **options)


def advance(scheduler, seconds=0.01):
    """One step: its plan, after it has been committed as having taken so long."""
    plan = scheduler.schedule()
    scheduler.commit(tokens_of(plan), seconds)
    return plan


def test_a_long_prompt_goes_in_by_chunks_while_others_decode():
    scheduler = scheduler_of(max_step_tokens=4)
    scheduler.add(request("a"))
    advance(scheduler)
    scheduler.add(request("long", prompt=range(10)))
    chunks = []
    for _ in range(4):  # one of which measures decoding alone
        plan = advance(scheduler)
        assert [s.request_id for s in plan.decode] == ["a"]
        chunks += [(c.start, c.stop) for c in plan.prefill]
    assert chunks == [(0, 4), (4, 8), (8, 10)]


def test_several_prompts_go_in_at_once():
    scheduler = scheduler_of(max_step_tokens=60)
    scheduler.add(request("a", prompt=range(50)))
    scheduler.add(request("b", prompt=range(60)))
    assert [(c.start, c.stop) for c in scheduler.schedule().prefill] == [(0, 50), (0, 10)]


def test_prompts_take_what_is_left_of_the_time_that_streams_may_wait():
    # A prompt token takes 1 ms and decoding 50 ms, which may become 112: 62 tokens.
    scheduler = scheduler_of(max_decode_stall=0.25)
    scheduler.add(request("a", prompt=range(60)))
    advance(scheduler, seconds=0.06)
    advance(scheduler, seconds=0.05)
    scheduler.add(request("long", prompt=range(5000)))
    assert 57 <= advance(scheduler, seconds=0.25).prompt_tokens <= 67


def kv_scheduler(budget, **config):
    return scheduler_of(kv_cost=KvCost(per_token=1), kv_budget=budget, **config)


def test_whoever_finds_no_room_for_its_kv_waits_and_nobody_passes():
    scheduler = kv_scheduler(200)
    for name, length in (("a", 90), ("b", 90), ("c", 5)):
        scheduler.add(request(name, prompt=range(length), max_tokens=40))
    advance(scheduler)
    assert (scheduler.num_running, scheduler.num_waiting) == (1, 2)
    scheduler.abort("a")
    advance(scheduler)
    assert (scheduler.num_running, scheduler.num_waiting) == (2, 0)


def test_the_youngest_yields_when_the_kv_is_full_and_goes_on_later_with_the_same_answer():
    core = EngineCore(EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), kv_budget=120), FirstComeFirstServed())
    prompts = {"a": [1, 2] * 20, "b": [3, 4] * 20, "c": [5]}
    for name, prompt in prompts.items():
        core.add(request(name, prompt, max_tokens=60))
    said = {name: [] for name in prompts}
    ended = []
    while core.has_work:
        for event in core.step().events:
            said[event.request_id].append(event.token)
            ended += [event.request_id] if event.finish_reason else []
        assert core.stats.kv_bytes <= 120 + core.stats.running
    assert said == {name: [*prompt, END] for name, prompt in prompts.items()}
    assert core.stats.preemptions >= 1
    assert ended[0] in {"a", "c"}  # b was the youngest of the two that grew


def test_what_could_never_fit_is_refused():
    with pytest.raises(RequestTooLargeError):
        kv_scheduler(100).add(request("a", prompt=range(50), max_tokens=51))


def test_more_than_the_batch_holds_wait_in_order():
    core = EngineCore(EchoRunner(), SchedulerConfig(max_num_seqs=2))
    for name in "abcd":
        core.add(request(name))
    assert core.step().events[0].request_id == "a"
    assert (core.stats.running, core.stats.waiting) == (2, 2)
    first_seen = list(dict.fromkeys(event.request_id for event in run_all(core)))
    assert first_seen == ["a", "b", "c", "d"]


def test_a_batch_that_grows_takes_in_who_waits_at_the_next_step():
    scheduler = scheduler_of(max_num_seqs=1)
    for name in "abc":
        scheduler.add(request(name))
    advance(scheduler)
    scheduler.resize(3)
    advance(scheduler)
    assert (scheduler.num_running, scheduler.num_waiting) == (3, 0)


def test_a_batch_that_shrinks_lets_those_in_it_finish_and_takes_nobody_in_until_there_is_room():
    scheduler = scheduler_of(max_num_seqs=3)
    for name, max_tokens in (("a", 3), ("b", 4), ("c", 6), ("d", 6)):
        scheduler.add(request(name, max_tokens=max_tokens))
    advance(scheduler)
    scheduler.resize(1)
    running = []
    for _ in range(6):
        running.append({s.request_id for s in advance(scheduler).decode})
        scheduler.check_integrity()
    assert running == [{"a", "b", "c"}, {"a", "b", "c"}, {"b", "c"}, {"c"}, {"c"}, set()]
    assert scheduler.request_ids() == ("d",)


def test_a_shrunk_batch_that_fills_up_again_is_noticed():
    scheduler = scheduler_of(max_num_seqs=2)
    for name in "abc":
        scheduler.add(request(name))
    advance(scheduler)
    scheduler.resize(1)
    scheduler.check_integrity()
    scheduler.abort("a")
    advance(scheduler)
    scheduler.config = replace(scheduler.config, max_num_seqs=2)  # as if the bound were not kept
    scheduler._admit()
    scheduler.config = replace(scheduler.config, max_num_seqs=1)
    with pytest.raises(AssertionError):
        scheduler.check_integrity()


def test_choices_beyond_a_shrunk_batch_wait_for_a_place():
    core = EngineCore(EchoRunner(), SchedulerConfig(max_num_seqs=4, max_step_tokens=2))
    core.add(*(request(f"c{index}", prompt=range(3)) for index in range(4)))
    core.step()  # the first half of the prompt, with places kept for the others
    core.resize(2)
    core.step()
    assert (core.stats.running, core.stats.waiting) == (2, 2)
    assert {event.request_id for event in run_all(core)} == {"c0", "c1", "c2", "c3"}


def test_a_batch_for_nobody_is_refused_and_changes_nothing():
    scheduler = scheduler_of(max_num_seqs=2)
    with pytest.raises(ValueError, match="max_num_seqs"):
        scheduler.resize(0)
    assert scheduler.config.max_num_seqs == 2


def test_a_sequence_ends_at_the_stop_token_or_at_max_tokens():
    core = EngineCore(EchoRunner(), SchedulerConfig())
    core.add(request("stops", prompt=[5, 6]))
    core.add(request("full", prompt=[5, 6, 7], max_tokens=2))
    ends = {e.request_id: (e.token, e.finish_reason) for e in run_all(core) if e.finish_reason}
    assert ends == {"stops": (END, FinishReason.STOP), "full": (6, FinishReason.LENGTH)}


def ahead(*, launch_blocks=False, **config):
    runner = EchoRunner(looks_ahead=True, launch_blocks=launch_blocks)
    return EngineCore(runner, SchedulerConfig(**config)), runner


def test_a_step_is_given_out_before_the_tokens_of_the_one_before_are_known():
    core, runner = ahead()
    core.add(request("a", prompt=[5, 6]))
    assert core.step().events == ()
    assert len(runner.plans) == 1
    assert [event.token for event in core.step().events] == [5]
    assert len(runner.plans) == 2
    assert [event.token for event in run_all(core)] == [6, END]


def test_where_launching_blocks_a_step_is_launched_after_the_tokens_of_the_one_before_were_said():
    core, runner = ahead(launch_blocks=True)
    core.add(request("a", prompt=[5, 6]))
    assert core.step().events == ()
    assert runner.latest.launches == 0
    first = runner.latest
    assert [event.token for event in core.step().events] == [5]
    assert (len(runner.plans), first.launches, runner.latest.launches) == (2, 1, 0)
    assert [event.token for event in run_all(core)] == [6, END]


def test_looking_ahead_stops_at_max_tokens_and_wastes_one_row_after_a_stop_token():
    core, runner = ahead()
    core.add(request("full", prompt=[5, 6, 7], max_tokens=2))
    assert [event.token for event in run_all(core)] == [5, 6]
    assert sum(bool(plan.decode) for plan in runner.plans) == 1
    core.add(request("stops", prompt=[5], max_tokens=20))
    assert [event.token for event in run_all(core)] == [5, END]
    assert sum(bool(plan.decode) for plan in runner.plans) == 1 + 2
    assert runner.rows == set()


def test_nobody_looks_ahead_past_a_penalty_that_needs_the_token():
    core, runner = ahead()
    core.add(request("a", prompt=[5, 6, 7], sampling=SamplingParams(presence_penalty=1.0)))
    core.step()
    assert [event.token for event in core.step().events] == [5]
    assert all(sequence.in_flight <= 1 for plan in runner.plans for sequence in plan.decode)
    assert [event.token for event in run_all(core)] == [6, 7, END]


def test_what_is_in_flight_for_an_aborted_request_is_left_out_even_if_its_id_comes_back():
    core, runner = ahead()
    core.add(request("a", prompt=[1, 2, 3]))
    core.step()
    core.abort("a")
    core.add(request("a", prompt=[9]))
    assert [event.token for event in run_all(core)] == [9, END]
    assert runner.rows == set()


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_an_aborted_sequence_is_out_of_the_batch_at_the_next_step(steps):
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(max_num_seqs=2, max_step_tokens=2))
    core.add(request("a", prompt=range(3)))
    core.add(request("b", prompt=range(3)))
    for _ in range(steps):
        core.step()
    assert core.abort("a")
    assert "a" not in {event.request_id for event in core.step().events}
    assert "a" not in runner.rows
    assert not core.abort("a")
    assert {event.request_id for event in run_all(core)} == {"b"}
    assert runner.rows == set()


def test_an_id_may_come_back_at_once_after_its_abort():
    core = EngineCore(EchoRunner(), SchedulerConfig(max_num_seqs=1))
    core.add(request("a", prompt=[1, 2, 3]))
    core.step()
    core.abort("a")
    core.add(request("a", prompt=[9]))
    assert [event.token for event in run_all(core)] == [9, END]


def test_an_id_that_is_held_is_refused():
    scheduler = scheduler_of()
    scheduler.add(request("a"))
    with pytest.raises(DuplicateRequestError):
        scheduler.add(request("a"))


def test_timing_is_split_at_admission_and_at_the_first_token():
    clock = iter([10.0, 12.0, 15.0, 16.0, 19.0])  # added, admitted, first token, next step, second token
    scheduler = scheduler_of(clock=lambda: next(clock))
    scheduler.add(request("a", max_tokens=2))
    advance(scheduler)
    (last,) = scheduler.commit(tokens_of(scheduler.schedule()), 0.01)
    assert (last.timing.queue, last.timing.prefill, last.decode) == (2.0, 3.0, 4.0)


@pytest.mark.parametrize("bad", [{"prompt": ()}, {"max_tokens": 0}])
def test_a_request_without_prompt_or_room_is_refused(bad):
    with pytest.raises(ValueError):
        request("a", **bad)


def test_bounds_below_one_are_refused():
    with pytest.raises(ValueError, match="max_num_seqs"):
        SchedulerConfig(max_num_seqs=0)


def test_a_prompt_that_begins_like_another_is_fed_from_where_they_differ():
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), reuse_kv=True))
    system = list(range(100))
    core.add(request("a", [*system, 1, 2, 3]))
    run_all(core)
    core.add(request("b", [*system, 4, 5]))
    events = run_all(core)
    assert [event.token for event in events] == [*system, 4, 5][:100]
    assert {event.cached_tokens for event in events} == {100}  # three blocks of 32, and four tokens of the fourth
    assert next(plan for plan in runner.plans[::-1] if plan.prefill).prompt_tokens == 2
    assert (core.stats.prefix_queries, core.stats.prefix_hits) == (103 + 102, 100)


def test_the_next_turn_of_a_conversation_reuses_the_answer_too():
    core = EngineCore(EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), reuse_kv=True))
    core.add(request("a", range(50), max_tokens=60))
    answer = [event.token for event in run_all(core)]
    core.add(request("b", [*range(50), *answer, 7], max_tokens=1))
    (event,) = run_all(core)
    assert event.cached_tokens == 50 + 50  # the last token, which ended the answer, was never fed


def test_what_was_computed_for_an_aborted_request_is_kept_too():
    # An answer that ends at a stop text is ended from outside, like one whose client left.
    core = EngineCore(EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), reuse_kv=True))
    core.add(request("a", range(50), max_tokens=60))
    said = [event.token for _ in range(40) for event in core.step().events]
    core.abort("a")
    core.add(request("b", [*range(50), *said, 7], max_tokens=1))
    assert run_all(core)[0].cached_tokens == 50 + 39


def test_running_sequences_take_the_room_of_what_is_kept():
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), kv_budget=300, reuse_kv=True))
    for name in range(3):
        core.add(request(str(name), [name] * 90, max_tokens=10))
        run_all(core)
    assert 210 <= core.stats.prefix_bytes == runner.kept_tokens <= 300  # as much as fitted, and of one prompt not all
    core.add(request("large", [9] * 200, max_tokens=2))
    core.step()
    assert core.stats.kv_bytes + runner.kept_tokens <= 300
    assert core.stats.prefix_evictions >= 3


def test_a_prompt_said_again_leaves_one_token_to_feed():
    core = EngineCore(runner := EchoRunner(), SchedulerConfig(kv_cost=KvCost(per_token=1), reuse_kv=True))
    for name in "ab":
        core.add(request(name, range(50), max_tokens=1))
        (event,) = run_all(core)
    assert event.cached_tokens == 49
    assert next(plan for plan in runner.plans[::-1] if plan.prefill).prompt_tokens == 1


def test_whoever_yields_finds_again_what_of_its_kv_there_is_room_for():
    config = SchedulerConfig(kv_cost=KvCost(per_token=1), kv_budget=250, reuse_kv=True)
    core = EngineCore(runner := EchoRunner(), config, FirstComeFirstServed())
    core.add(request("a", [1] * 90))
    core.add(request("b", [2] * 90))
    while not core.stats.preemptions:
        core.step()
    core.abort("a")
    run_all(core)
    assert fed(runner, "b") == [(0, 90), (96, 126)]  # beside the 126 tokens of `a`, three of its four blocks fitted


def checkpoint_core(**config):
    cost = KvCost(fixed=5, per_token=1, windows=((8, 1),))
    runner = EchoRunner()
    return EngineCore(runner, SchedulerConfig(kv_cost=cost, reuse_kv=True, checkpoints=True, **config)), runner


def fed(runner, name):
    return [(chunk.start, chunk.stop) for plan in runner.plans for chunk in plan.prefill if chunk.sequence.request_id == name]


def test_chunks_end_where_checkpoints_are_taken_and_the_next_turn_goes_on_from_the_last_token():
    core, runner = checkpoint_core(max_step_tokens=300)
    core.add(request("a", range(110), max_tokens=20))
    answer = [event.token for event in run_all(core)]
    assert fed(runner, "a")[-1] == (96, 110)
    core.add(request("b", [*range(110), *answer, 7], max_tokens=1))
    assert run_all(core)[0].cached_tokens == 110 + 19
    core.add(request("c", [*range(110), 5, 6], max_tokens=1))  # another answer to the same
    assert run_all(core)[0].cached_tokens == 96
    assert core.stats.prefix_bytes == runner.kept_tokens + 13 * len(runner.checkpoints)


def test_the_second_prompt_to_part_at_a_place_leaves_a_checkpoint_there_for_the_third():
    core, runner = checkpoint_core()
    system, cached = [9] * 70, []
    for name in range(1, 4):
        core.add(request(str(name), [*system, *[name] * 200], max_tokens=1))
        cached.append(run_all(core)[0].cached_tokens)
    assert cached == [0, 0, 64]
    assert {64, 256} < {stop for _, stop in fed(runner, "2")}
    assert fed(runner, "3")[0][0] == 64


@pytest.mark.parametrize("steps", range(1, 6))
def test_whoever_is_given_up_in_the_middle_of_its_prompt_leaves_a_checkpoint_where_it_stood(steps):
    core, _ = checkpoint_core(max_step_tokens=21)
    core.add(request("a", range(200)))
    for _ in range(steps):
        core.step()
    core.abort("a")
    core.add(request("b", range(200), max_tokens=1))
    assert run_all(core)[0].cached_tokens == 21 * steps


class SchedulerMachine(RuleBasedStateMachine):
    """Random arrivals, aborts and steps: nothing is lost, doubled or changed, and all ends when it may."""

    looks_ahead = False
    launch_blocks = False
    config = SchedulerConfig(kv_cost=KvCost(per_token=1), kv_budget=300)

    def __init__(self):
        super().__init__()
        self.runner = EchoRunner(looks_ahead=self.looks_ahead, launch_blocks=self.launch_blocks)
        self.core = EngineCore(self.runner, replace(self.config, max_num_seqs=3, max_step_tokens=40, reuse_kv=True))
        self.wanted = {}
        self.got = {}
        self.count = 0

    @rule(
        blocks=st.lists(st.integers(0, 1), max_size=3),
        tail=st.lists(st.integers(0, 255), min_size=1, max_size=12),
        max_tokens=st.integers(1, 80),
        priority=st.integers(-1, 1),
        client=st.sampled_from("xyz"),
        penalty=st.sampled_from([0.0, 0.0, 1.0]),
    )
    def add(self, blocks, tail, max_tokens, priority, client, penalty):
        prompt = [token for token in blocks for _ in range(BLOCK_TOKENS)] + tail
        name = str(self.count)
        self.count += 1
        self.core.add(
            request(
                name,
                prompt,
                max_tokens=max_tokens,
                priority=priority,
                client=client,
                sampling=SamplingParams(presence_penalty=penalty),
            )
        )
        self.wanted[name] = [*prompt, END][:max_tokens]
        self.got[name] = []

    @rule(
        prompt=st.lists(st.integers(0, 255), min_size=1, max_size=100),
        limits=st.lists(st.integers(1, 80), min_size=2, max_size=6),
        priority=st.integers(-1, 1),
        client=st.sampled_from("xyz"),
    )
    def add_choices(self, prompt, limits, priority, client):
        names = [f"{self.count}/{index}" for index in range(len(limits))]
        self.count += len(limits)
        options = {"priority": priority, "client": client}
        choices = zip(names, limits, strict=True)
        self.core.add(*(request(name, prompt, max_tokens=limit, **options) for name, limit in choices))
        self.wanted |= {name: [*prompt, END][:limit] for name, limit in zip(names, limits, strict=True)}
        self.got |= {name: [] for name in names}

    @rule(data=st.data())
    def abort(self, data):
        if self.core.request_ids():
            name = data.draw(st.sampled_from(self.core.request_ids()))
            assert self.core.abort(name)
            del self.wanted[name], self.got[name]

    @rule(max_num_seqs=st.integers(1, 5))
    def resize(self, max_num_seqs):
        self.core.resize(max_num_seqs)

    @rule()
    def step(self):
        self.take(self.core.step().events)

    def take(self, events):
        for event in events:
            self.got[event.request_id].append(event.token)
            assert self.got[event.request_id] == self.wanted[event.request_id][: len(self.got[event.request_id])]

    @invariant()
    def books_balance(self):
        self.core.check_integrity()
        scheduler = self.core._scheduler
        assert scheduler.num_waiting + scheduler.num_running == len(self.wanted.keys() & set(self.core.request_ids()))
        # The next step makes room for each running sequence's next token.
        assert self.core.stats.kv_bytes <= 300 + (1 + self.looks_ahead) * self.core.stats.running
        taken = (self.config.kv_cost.of_checkpoint(len(tokens)) for tokens in self.runner.checkpoints.values())
        assert self.runner.kept_tokens + sum(taken) <= 300

    def teardown(self):
        for _ in range(400 * (1 + self.count)):
            if not self.core.has_work:
                break
            self.take(self.core.step().events)
        assert self.got == self.wanted
        assert self.runner.rows == set()


class CheckpointSchedulerMachine(SchedulerMachine):
    """The same for a model with windows and states."""

    config = SchedulerConfig(kv_cost=KvCost(fixed=5, per_token=1, windows=((8, 1),)), kv_budget=300, checkpoints=True)


TestSchedulerMachine = SchedulerMachine.TestCase
TestCheckpointSchedulerMachine = CheckpointSchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestCheckpointSchedulerMachine.settings = TestSchedulerMachine.settings


class AheadMachine(SchedulerMachine):
    """The same with a runner that takes a plan while the one before is being computed."""

    looks_ahead = True


TestAheadMachine = AheadMachine.TestCase
TestAheadMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


class BlockingMachine(AheadMachine):
    """The same where launching blocks."""

    launch_blocks = True


TestBlockingMachine = BlockingMachine.TestCase
TestBlockingMachine.settings = TestAheadMachine.settings
