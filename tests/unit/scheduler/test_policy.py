"""Each policy admits in the order that it documents, starves nobody, and shares within its bound."""

import random
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler.policy import FairShare, FairShareConfig, FirstComeFirstServed, PriorityClasses
from scheduler.request import Request, Sequence

PAPER = FairShareConfig(credit_per_second=0)
NUMBERS = count()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def sequence(client="", arrived=0.0, priority=0, name=None, prompt=1):
    name = name or f"{client}{next(NUMBERS)}"
    return Sequence(Request(name, (0,) * prompt, max_tokens=1, priority=priority, client=client), arrived=arrived)


def preempt(policy, sequence):
    sequence.preemptions += 1
    policy.add(sequence)


def admit(policy):
    """Pop and charge the prompt, as the policy asks its caller to."""
    sequence = policy.pop()
    if sequence is not None and not sequence.preemptions:
        policy.charge(sequence, sequence.num_prompt, 0)
    return sequence


def clients(policy):
    return [admit(policy).request.client for _ in range(len(policy))]


def random_of(seed):
    return random.Random(seed)  # noqa: S311 - a trace, not a secret


POLICIES = [FirstComeFirstServed, PriorityClasses, FairShare]


@pytest.mark.parametrize("policy_class", POLICIES)
def test_one_that_joins_is_served_to_its_end_though_it_never_waited(policy_class):
    policy = policy_class()
    leader, fork = sequence("a"), sequence("a")
    policy.add(leader)
    admit(policy)
    policy.join(fork)
    assert len(policy) == 0
    policy.remove(leader)
    policy.charge(fork, 0, 5)
    preempt(policy, fork)
    assert policy.pop() is fork
    policy.remove(fork)
    policy.add(sequence("b"))
    assert clients(policy) == ["b"]


def test_output_of_one_that_joined_counts_for_its_client():
    policy = FairShare(PAPER)
    leader, fork = sequence("a"), sequence("a")
    policy.add(leader)
    admit(policy)
    policy.join(fork)
    for client in "aab":
        policy.add(sequence(client))
    policy.charge(fork, 0, 5)
    assert clients(policy) == ["b", "a", "a"]


@pytest.mark.parametrize("policy_class", POLICIES)
def test_sequences_of_one_kind_are_admitted_in_order_of_arrival(policy_class):
    policy = policy_class()
    assert policy.peek() is None
    assert policy.pop() is None
    waiting = [sequence(arrived=n // 2) for n in range(6)]
    for one in waiting:
        policy.add(one)
    assert set(policy) == set(waiting)
    assert len(policy) == 6
    assert policy.peek() is waiting[0]
    assert [policy.pop() for _ in waiting] == waiting
    assert list(policy) == []


@pytest.mark.parametrize("policy_class", POLICIES)
def test_a_removed_sequence_is_not_admitted_and_removing_it_again_changes_nothing(policy_class):
    policy = policy_class()
    a, b, c = (sequence() for _ in range(3))
    for one in (a, b, c):
        policy.add(one)
    assert policy.peek() is a
    policy.remove(a)
    policy.remove(a)
    policy.remove(sequence("stranger", priority=9))
    assert policy.peek() is b
    assert len(policy) == 2
    assert [policy.pop(), policy.pop(), policy.pop()] == [b, c, None]


@pytest.mark.parametrize("policy_class", POLICIES)
def test_the_order_outlasts_many_removals(policy_class):
    policy = policy_class()
    waiting = [sequence(arrived=n) for n in range(300)]
    rng = random_of(0)
    for one in rng.sample(waiting, 300):
        policy.add(one)
    removed = set(rng.sample(waiting, 250))
    for one in removed:
        policy.remove(one)
    assert [policy.pop() for _ in range(50)] == [one for one in waiting if one not in removed]


@pytest.mark.parametrize("policy_class", [PriorityClasses, FairShare])
def test_who_arrives_after_a_peek_may_still_be_popped(policy_class):
    policy = policy_class()
    policy.add(low := sequence(priority=1))
    assert policy.peek() is low
    policy.add(high := sequence())
    assert policy.pop() is high


@pytest.mark.parametrize("policy_class", POLICIES)
def test_a_preempted_sequence_goes_ahead_of_its_class_but_not_of_a_better_one(policy_class):
    policy = policy_class()
    first, second, third = (sequence("a") for _ in range(3))  # the same stamp: preemption alone decides
    for one in (first, second, third):
        policy.add(one)
    assert [admit(policy), admit(policy)] == [first, second]
    preempt(policy, second)
    preempt(policy, first)
    policy.add(urgent := sequence("b", priority=-1))
    order = [admit(policy) for _ in range(4)]
    if policy_class is not FirstComeFirstServed:
        assert order.pop(0) is urgent
    else:
        assert order.pop() is urgent
    assert set(order[:2]) == {first, second}
    assert order[2] is third


@pytest.mark.parametrize("policy_class", POLICIES)
def test_a_sequence_cannot_wait_twice(policy_class):
    policy = policy_class()
    policy.add(one := sequence())
    with pytest.raises(AssertionError):
        policy.add(one)
    preempt(policy, policy.pop())
    with pytest.raises(AssertionError):
        policy.add(one)


@pytest.mark.parametrize("policy_class", [PriorityClasses, FairShare])
def test_the_lowest_classs_youngest_yields(policy_class):
    old, young, low = sequence(arrived=1), sequence(arrived=2), sequence(arrived=0, priority=1)
    twin = sequence(arrived=2)
    assert policy_class().victim([young, low, old]) is low
    assert policy_class().victim([young, old]) is young
    assert policy_class().victim([young, twin, old]) is twin


def test_the_youngest_yields_first_come_first_served():
    old, young = sequence(priority=5, arrived=1), sequence(arrived=2)
    assert FirstComeFirstServed().victim([young, old]) is young


@pytest.mark.parametrize("policy_class", POLICIES)
def test_nobody_yields_where_nobody_runs(policy_class):
    with pytest.raises(ValueError):
        policy_class().victim([])


def test_priority_classes_put_a_lower_value_first_and_count_waiting_as_classes():
    policy = PriorityClasses(ageing_seconds=10)
    low = sequence("low", arrived=0, priority=2)
    for one in (low, sequence("before", arrived=19), sequence("after", arrived=21), sequence("mid", arrived=5, priority=1)):
        policy.add(one)
    assert clients(policy) == ["mid", "before", "low", "after"]


def test_the_client_with_the_least_service_is_next():
    policy = FairShare(PAPER)
    for client, prompt in [("a", 10)] * 3 + [("b", 4)] * 4:
        policy.add(sequence(client, prompt=prompt))
    assert clients(policy) == ["a", "b", "b", "b", "a", "b", "a"]


def test_a_token_of_output_weighs_two_of_input():
    policy = FairShare(PAPER)
    for client in "aabb":
        policy.add(sequence(client))
    a, b = policy.pop(), None
    policy.charge(a, 0, 4)
    b = policy.pop()
    policy.charge(b, 7, 0)
    assert [policy.pop().request.client for _ in range(2)] == ["b", "a"]


def test_a_client_that_was_away_is_lifted_to_the_least_served_of_those_who_wait():
    policy = FairShare(PAPER)
    for client in "aaaabbbb":
        policy.add(sequence(client, prompt=10))
    for _ in range(4):
        admit(policy)  # a and b have 20 each
    for _ in range(5):
        policy.add(sequence("new", prompt=10))
    assert clients(policy)[:6] == ["a", "b", "new", "a", "b", "new"]  # not five of the new one's


def test_a_client_that_comes_to_an_empty_queue_is_lifted_to_the_one_that_left_it_last():
    policy = FairShare(PAPER)
    policy.add(sequence("a", prompt=100))
    admit(policy)
    policy.add(sequence("b", prompt=10))  # lifted to a's 100, so that a hasn't to wait for what b never used
    policy.add(sequence("b", prompt=10))
    policy.add(sequence("a", prompt=10))
    assert clients(policy) == ["b", "a", "b"]


def test_a_preempted_sequence_keeps_its_clients_account_as_it_was():
    policy = FairShare(PAPER)
    for client in "aabb":
        policy.add(sequence(client, prompt=10))
    a = admit(policy)
    preempt(policy, a)
    assert admit(policy) is a
    assert clients(policy) == ["b", "a", "b"]


def test_a_class_waits_for_a_lower_one_until_it_has_aged():
    policy = FairShare(FairShareConfig(ageing_seconds=10), clock := Clock())
    for _ in range(3):
        policy.add(sequence("low", priority=2))
    order = []
    for clock.now in range(0, 50, 5):
        policy.add(sequence("high", arrived=clock.now))
        order.append(admit(policy).request.client)
    assert order == ["high", "high", "high", "high", "low", "high", "high", "high", "high", "low"]


def test_pop_admits_what_peek_gave_though_time_passes_between():
    policy = FairShare(FairShareConfig(ageing_seconds=10), clock := Clock())
    policy.add(low := sequence(priority=1))
    policy.add(high := sequence())
    clock.now = 9
    assert policy.peek() is high
    clock.now = 11
    assert policy.pop() is high
    assert policy.pop() is low


def test_a_long_backlog_does_not_age_ahead_of_other_clients():
    policy = FairShare(FairShareConfig(ageing_seconds=1), clock := Clock())
    for _ in range(1000):
        policy.add(sequence("flood", prompt=10))
    clock.now = 500.0
    policy.add(sequence("one", arrived=500.0, prompt=10))
    assert "one" in [admit(policy).request.client for _ in range(2)]


@pytest.mark.parametrize(("credit", "waits_for"), [(10, 12), (0, None)])
def test_new_clients_pass_an_old_one_only_as_long_as_its_credit_allows(credit, waits_for):
    policy = FairShare(FairShareConfig(credit_per_second=credit), clock := Clock())
    policy.add(sequence("old", prompt=100))
    policy.add(sequence("new-0"))
    policy.add(sequence("new-1"))
    policy.add(sequence("old"))
    admitted = [admit(policy).request.client]
    for n in range(2, 200):
        clock.now += 1
        policy.add(sequence(f"new-{n}", arrived=clock.now))
        admitted.append(admit(policy).request.client)
    assert admitted[0] == "old"
    assert (admitted.index("old", 1) if "old" in admitted[1:] else None) == waits_for


def test_idle_clients_are_forgotten_when_their_return_would_lift_them_anyway():
    policy = FairShare()
    for n in range(500):
        policy.add(sequence(str(n), priority=n % 3))
        policy.remove(admit(policy))
        assert policy.num_clients <= 1
    assert policy.num_clients == 0


def test_the_idle_clients_that_are_remembered_are_bounded():
    policy = FairShare(FairShareConfig(max_idle_clients=10, credit_per_second=0))
    policy.add(first := sequence("0", prompt=10))
    for n in range(1, 200):  # somebody always waits at the counter 0, so everybody who was served is above it
        policy.add(sequence(str(n), prompt=10))
        policy.remove(admit(policy))
    assert 10 <= policy.num_clients <= 12
    policy.remove(first)


@pytest.mark.parametrize("policy_class", POLICIES)
def test_those_who_come_and_give_up_leave_nothing_behind(policy_class):
    policy = policy_class()
    policy.add(sequence("first"))
    for n in range(2000):
        policy.add(one := sequence(str(n), arrived=n))
        policy.remove(one)
    heap = policy._classes[0].turns if policy_class is FairShare else policy._waiting
    assert len(heap._entries) < 50


def test_a_client_with_a_running_sequence_is_not_forgotten():
    policy = FairShare(PAPER)
    policy.add(running := sequence("a"))
    admit(policy)
    for _ in range(20):
        policy.add(sequence("b", prompt=10))
        policy.remove(admit(policy))
    policy.charge(running, 0, 1000)
    policy.add(sequence("b", prompt=10))
    policy.add(sequence("a"))
    policy.add(sequence("b", prompt=10))
    assert clients(policy) == ["b", "b", "a"]


@pytest.mark.parametrize(
    "bad",
    [
        {"input_weight": 0},
        {"output_weight": -1},
        {"ageing_seconds": 0},
        {"ageing_seconds": float("inf")},
        {"credit_per_second": -1},
        {"max_idle_clients": -1},
    ],
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FairShareConfig(**bad)


def test_priority_classes_refuse_to_age_in_no_time():
    with pytest.raises(ValueError, match="ageing_seconds"):
        PriorityClasses(0)


def test_the_work_for_a_sequence_does_not_grow_with_the_number_that_wait():
    def looks(waiting):
        """How often keys are compared or made for 200 admissions, arrivals and charges, by counting reads of counters."""
        policy = FairShare(PAPER)
        for n in range(waiting):
            policy.add(sequence(str(n % 1000), arrived=n, prompt=3))
        reads = 0
        group = policy._classes[0]
        key = group.turns._key

        def counted(client):
            nonlocal reads
            reads += 1
            return key(client)

        group.turns._key = counted
        for n in range(200):
            policy.charge(one := admit(policy), 0, 5)
            policy.add(sequence(str(n), arrived=waiting + n))
            policy.remove(one)
        return reads

    assert looks(10_000) <= 2 * looks(1_000)
    assert looks(10_000) < 200 * 10


@given(
    policy_class=st.sampled_from([PriorityClasses, FairShare]),
    seed=st.integers(0, 2**32),
    priority=st.integers(-2, 4),
    ageing=st.sampled_from([1.0, 5.0, 20.0]),
)
@settings(max_examples=60, deadline=None)
def test_nobody_starves_while_others_keep_arriving(policy_class, seed, priority, ageing):
    """A second a pop, and a better or a new competitor for each: a bound in seconds is one in pops."""
    rng = random_of(seed)
    clock = Clock()
    config = FairShareConfig(ageing_seconds=ageing, credit_per_second=10)
    policy = PriorityClasses(ageing) if policy_class is PriorityClasses else FairShare(config, clock)
    ahead = rng.randrange(4)
    for _ in range(8):
        policy.add(sequence(rng.choice("abc"), priority=rng.randint(-2, 4)))
    for _ in range(ahead + 1):
        policy.add(one := sequence("victim", priority=priority, prompt=rng.randint(1, 100)))
    turn = ageing * (priority + 2) + 7  # seconds until its class has its turn: the distance, and a pop for each class
    in_class = 100 / config.credit_per_second + 12  # turns until the client has its own: its credit, and those before it
    bound = int((ahead + 1) * (in_class + 1) * (turn + 1))
    for _pops in range(bound):
        clock.now += 1
        policy.add(sequence(f"{rng.choice('abc')}{clock.now}", arrived=clock.now, priority=rng.randint(-2, priority)))
        admitted = admit(policy)
        policy.remove(admitted)
        if admitted is one:
            return
    pytest.fail(f"{bound} others were admitted first")


LONGEST_PROMPT, LONGEST_OUTPUT, ROWS = 40, 20, 4


def service_gaps(policy, clock, rng, steps):
    """Serve two clients that always wait, with others that come and go, and give the difference of their service by step.

    Also gives the most tokens admitted at once, counted at their full length, and the longest that one of the two waited.
    """
    service = {"a": 0, "b": 0}
    last = dict.fromkeys(service, 0.0)
    shape = {client: (rng.randint(1, LONGEST_PROMPT), rng.randint(1, LONGEST_OUTPUT)) for client in "abcd"}
    left, rows, gaps, most, longest = {}, [], [], 0, 0.0

    def arrive(client):
        policy.add(sequence(client, arrived=clock.now, prompt=rng.randint(1, shape[client][0])))

    for client in "aaabbb":
        arrive(client)
    for _ in range(steps):
        clock.now += 1
        if rng.random() < 0.2:
            arrive(rng.choice("cd"))
        if len(rows) > 1 and rng.random() < 0.05:
            rows.remove(victim := policy.victim(rows))
            preempt(policy, victim)
        while len(rows) < ROWS:
            rows.append(one := policy.pop())
            if one.preemptions:
                continue
            client = one.request.client
            policy.charge(one, one.num_prompt, 0)
            left[one] = rng.randint(1, shape[client][1])
            if client in service:
                service[client] += one.num_prompt
                longest = max(longest, clock.now - last[client])
                last[client] = clock.now
                arrive(client)
        most = max(most, sum(one.num_prompt + LONGEST_OUTPUT for one in left))
        for one in list(rows):
            policy.charge(one, 0, 1)
            if one.request.client in service:
                service[one.request.client] += 2
            left[one] -= 1
            if not left[one]:
                del left[one]
                rows.remove(one)
                policy.remove(one)
        gaps.append(service["a"] - service["b"])
    return gaps, most, max([longest, *(clock.now - stamp for stamp in last.values())])


@given(seed=st.integers(0, 2**32), credit=st.sampled_from([0, 0, 1, 5]))
@settings(max_examples=60, deadline=None)
def test_two_clients_that_always_wait_get_service_within_the_bound(seed, credit):
    policy = FairShare(FairShareConfig(credit_per_second=credit), clock := Clock())
    gaps, most, longest = service_gaps(policy, clock, random_of(seed), 400)
    assert max(gaps) - min(gaps) <= 2 * (2 * most + credit * longest)


def test_first_come_first_served_breaks_that_bound():
    broken = 0
    for seed in range(10):
        gaps, most, _ = service_gaps(FirstComeFirstServed(), Clock(), random_of(seed), 1000)
        broken += max(gaps) - min(gaps) > 4 * most
    assert broken >= 5


class PolicyMachine(RuleBasedStateMachine):
    """Random arrivals, admissions, preemptions, ends and service: the policy does as a naive model of it."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.waiting = []
        self.running = []

    @initialize()
    def start(self):
        self.policy = self.make()

    @rule(client=st.sampled_from("abc"), priority=st.sampled_from([0, 0, 1, 3]))
    def arrive(self, client, priority):
        one = sequence(client, self.clock.now, priority)
        self.model_joins(one)
        self.waiting.append(one)
        self.policy.add(one)

    @rule(prompt=st.integers(0, 9))
    def admit(self, prompt):
        expected = self.model_next()
        assert self.policy.pop() is expected
        assert (expected is None) == (not self.waiting)
        if expected is not None:
            self.model_admits(expected)
            self.running.append(expected)
            if not expected.preemptions:
                self.serve(expected, prompt, 0)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), output_tokens=st.integers(0, 9))
    def generate(self, data, output_tokens):
        self.serve(data.draw(st.sampled_from(self.running)), 0, output_tokens)

    @precondition(lambda self: self.running)
    @rule()
    def preempt(self):
        victim = self.policy.victim(self.running)
        self.running.remove(victim)
        victim.preemptions += 1
        self.model_joins(victim)
        self.waiting.append(victim)
        self.policy.add(victim)

    @precondition(lambda self: self.running or self.waiting)
    @rule(data=st.data())
    def end(self, data):
        one = data.draw(st.sampled_from(self.running + self.waiting))
        if one in self.waiting:
            self.waiting.remove(one)
            self.model_leaves(one)
        else:
            self.running.remove(one)
        self.policy.remove(one)

    @rule(seconds=st.sampled_from([1, 4, 25]))
    def tick(self, seconds):
        self.clock.now += seconds

    @invariant()
    def the_same_wait(self):
        if hasattr(self, "policy"):
            assert len(self.policy) == len(self.waiting)
            assert set(self.policy) == set(self.waiting)
            assert self.policy.peek() is self.model_next()

    def teardown(self):
        while self.waiting:
            self.admit(1)
        assert self.policy.pop() is None

    def serve(self, one, input_tokens, output_tokens):
        self.model_serves(one, input_tokens + 2 * output_tokens)
        self.policy.charge(one, input_tokens, output_tokens)

    def model_joins(self, one):
        """One begins to wait; it isn't among `waiting` yet."""

    def model_leaves(self, one):
        """One waits no more, and isn't among `waiting`."""

    def model_admits(self, one):
        self.waiting.remove(one)
        self.model_leaves(one)

    def model_serves(self, one, cost):
        """One was served."""

    def model_next(self):
        return min(self.waiting, key=self.model_key, default=None)  # the first of equals


class FirstComeFirstServedMachine(PolicyMachine):
    make = FirstComeFirstServed

    def model_key(self, one):
        return one.arrived, not one.preemptions


class PriorityClassesMachine(PolicyMachine):
    def make(self):
        return PriorityClasses(10)

    def model_key(self, one):
        return one.arrived + 10 * one.request.priority, not one.preemptions


class FairShareMachine(PolicyMachine):
    """Algorithm 2 of the paper for each class, with every account kept for ever, and the ageing of classes."""

    def __init__(self):
        super().__init__()
        self.counters = {}
        self.joined = {}
        self.last = {}
        self.client_since = {}
        self.class_since = {}

    def make(self):
        return FairShare(FairShareConfig(ageing_seconds=10, credit_per_second=0), self.clock)

    def account(self, one):
        return one.request.priority, one.request.client

    def queued(self, priority):
        return [s for s in self.waiting if s.request.priority == priority and not s.preemptions]

    def model_joins(self, one):
        priority, account = one.request.priority, self.account(one)
        if all(s.request.priority != priority for s in self.waiting):
            self.class_since[priority] = self.clock.now
        queued = {self.account(s) for s in self.queued(priority)}
        self.counters.setdefault(account, 0)
        if one.preemptions or account in queued:
            return
        floor = min((self.counters[other] for other in queued), default=self.counters.get(self.last.get(priority), 0))
        self.counters[account] = max(self.counters[account], floor)
        self.joined[account] = next(NUMBERS)
        self.client_since[account] = self.clock.now

    def model_leaves(self, one):
        if not one.preemptions and self.account(one) not in map(self.account, self.queued(one.request.priority)):
            self.last[one.request.priority] = self.account(one)

    def model_admits(self, one):
        super().model_admits(one)
        self.class_since[one.request.priority] = self.clock.now
        if not one.preemptions:
            self.client_since[self.account(one)] = self.clock.now

    def model_serves(self, one, cost):
        self.counters[self.account(one)] += cost

    def model_next(self):
        classes = {one.request.priority for one in self.waiting}
        if not classes:
            return None
        oldest = min(classes, key=lambda priority: (self.class_since[priority] + 10 * priority, self.class_since[priority]))
        is_due = self.clock.now - self.class_since[oldest] >= 10 * (oldest - min(classes))
        turn = oldest if is_due else min(classes)
        preempted = [one for one in self.waiting if one.preemptions and one.request.priority == turn]
        return min(preempted or self.queued(turn), key=self.model_key)

    def model_key(self, one):
        account = self.account(one)
        if one.preemptions:
            return (one.arrived,)
        return self.counters[account], self.client_since[account], self.joined[account], one.arrived


TestFirstComeFirstServedMachine = FirstComeFirstServedMachine.TestCase
TestPriorityClassesMachine = PriorityClassesMachine.TestCase
TestFairShareMachine = FairShareMachine.TestCase
TestFirstComeFirstServedMachine.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
TestPriorityClassesMachine.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
TestFairShareMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
