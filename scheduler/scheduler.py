"""Decides what each step computes: who is admitted, whose prompt goes on, who yields, who has ended. Touches no tensor."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from time import monotonic

from scheduler.checkpoints import checkpoints
from scheduler.kv_cost import KvCost
from scheduler.pace import StepPacer
from scheduler.policy import Policy
from scheduler.prefix_cache import BLOCK_TOKENS, NOTHING, Keep, PrefixCache
from scheduler.request import FinishReason, Request, Sequence, SequenceState
from scheduler.siblings import Siblings
from scheduler.step import Chunk, StepPlan, StepResult, TokenEvent

_HEADROOM = 32  # tokens beyond its prompt that a newcomer must find room for, lest it be preempted at once


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """The scheduler's bounds.

    Attributes:
        max_num_seqs: The most sequences that are prefilling or running at once; others wait.
        max_step_tokens: The most prompt tokens that one step feeds.
        max_decode_stall: Seconds that a step may take while sequences are being decoded.
        kv_cost: What a sequence's KV takes.
        kv_budget: Bytes that all KV may take together, that of running sequences and that kept for others to come; None
            for no bound.
        reuse_kv: Whether the runner can keep the KV of a sequence for others that begin alike.
        checkpoints: Whether they can begin at checkpoints only, as windows and states stand for all tokens before.
    """

    max_num_seqs: int = 8
    max_step_tokens: int = 2048
    max_decode_stall: float = 0.1
    kv_cost: KvCost = field(default_factory=KvCost)
    kv_budget: int | None = None
    reuse_kv: bool = False
    checkpoints: bool = False

    def __post_init__(self) -> None:
        for name in ("max_num_seqs", "max_step_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(slots=True)
class _Planned:
    """A plan whose result is not there yet.

    Attributes:
        owed: Who gets a token by it, and how often each had been preempted when it was made.
        is_taken: Whether its chunks are counted as computed.
    """

    plan: StepPlan
    owed: list[tuple[Sequence, int]]
    is_taken: bool = False


class DuplicateRequestError(ValueError):
    """A request with this id is already held."""


class RequestTooLargeError(ValueError):
    """A request's KV could never fit the budget, even alone."""


class Scheduler:
    """Continuous batching: sequences join and leave between steps.

    A step takes every running sequence's next token, and what is left of its time goes to the prompts of those admitted, in
    the order of their admission. A policy decides who is admitted next, and who gives its memory back when the KV of all no
    longer fits: that one waits again, and its tokens are computed anew when it is admitted.

    Each plan of `schedule` is to be computed, in order, and its result given to `commit`. A second plan may be made before
    the first one's result is there, if `can_look_ahead`: it takes for granted that every sequence goes on, and what it computes
    for one that has ended or given its row back by then is left out. `add` and `abort` may come at any time.

    Sequences of one prompt may be added together. Then the first one, their leader, alone waits in the policy and has its
    prompt fed; the others begin as copies of its row when it is complete. While it is being fed, nobody else gets their places.
    Those without a place then have a leader of their own, and so have those whose leader ends too early.
    """

    def __init__(self, config: SchedulerConfig, policy: Policy, clock: Callable[[], float] = monotonic) -> None:
        self.config = config
        self.num_preemptions = 0
        self._policy = policy
        self._clock = clock
        self._pacer = StepPacer(config.max_decode_stall, config.max_step_tokens)
        self._siblings = Siblings()
        self._sequences: dict[str, Sequence] = {}
        self._active: list[Sequence] = []
        self._most_active = config.max_num_seqs  # more than that only after `resize`, until those beyond have ended
        self._dropped: list[str] = []
        self._keep: list[tuple[str, Keep]] = []
        cost = config.kv_cost
        of_checkpoint = cost.of_checkpoint if config.checkpoints else None
        self._prefixes = PrefixCache(cost.per_token, self._unused_bytes(), of_checkpoint) if config.reuse_kv else None
        self._planned: deque[_Planned] = deque()

    def add(self, *requests: Request) -> None:
        """Queue a request, or several of one prompt, priority and client, whose prompt is fed once as far as there is room.

        Raises `DuplicateRequestError` when an id is already held, and `RequestTooLargeError` when one can't be run; then none
        is queued.
        """
        self._check(requests)
        now = self._clock()
        sequences = [Sequence(request, arrived=now) for request in requests]
        self._sequences.update((sequence.request_id, sequence) for sequence in sequences)
        self._queue(sequences)

    def abort(self, request_id: str) -> bool:
        """End a sequence, wherever it stands; its row is gone at the next step. False when it isn't here."""
        sequence = self._sequences.get(request_id)
        if sequence is None:
            return False
        self._take_as_fed()
        self._finish(sequence, FinishReason.ABORT)
        self._fit_prefixes()
        return True

    def resize(self, max_num_seqs: int) -> None:
        """Change how many sequences may be in the batch, from the next plan on; those beyond a lower number stay until they end.

        Raises `ValueError` below 1; then nothing has changed.
        """
        self.config = replace(self.config, max_num_seqs=max_num_seqs)
        self._most_active = max(max_num_seqs, len(self._active))

    def schedule(self) -> StepPlan:
        """Make room for those who run, admit who fits, and plan one step."""
        assert len(self._planned) < 2, "a plan is made for the step after the one that is being computed, not beyond"
        self._take_as_fed()
        self._most_active = max(self.config.max_num_seqs, min(self._most_active, len(self._active)))
        preempted = self._make_room()
        if not preempted:
            self._admit()
        decode = tuple(s for s in self._active if s.state is SequenceState.RUNNING and s.wants_more)
        chunks = tuple(self._chunks(self._pacer.budget(len(decode))))
        self._fit_prefixes()
        plan = StepPlan(
            keep=tuple(self._keep),
            forget=self._prefixes.take_evicted() if self._prefixes is not None else (),
            dropped=tuple(self._dropped),
            decode=decode,
            prefill=chunks,
        )
        self._keep.clear()
        self._dropped.clear()
        owed = [*decode, *(sampled for chunk in chunks for sampled in chunk.sampled)]
        for sequence in owed:
            sequence.in_flight += 1
        self._planned.append(_Planned(plan, [(sequence, sequence.preemptions) for sequence in owed]))
        return plan

    def commit(self, result: StepResult, seconds: float) -> tuple[TokenEvent, ...]:
        """Take the result of the oldest plan that has none yet: append its tokens, end who is done.

        Args:
            result: A token for every sequence that the plan owed one.
            seconds: What computing the plan took.
        """
        self._take_as_fed()
        planned = self._planned.popleft()
        plan = planned.plan
        if not plan.is_empty:
            self._pacer.observe(seconds, rows=len(plan.decode), prompt_tokens=plan.prompt_tokens)
        events = tuple(self._events(planned, result))
        self._fit_prefixes()  # what was locked may have been all that could have gone
        return events

    @property
    def can_look_ahead(self) -> bool:
        """Whether the next plan doesn't depend on tokens in flight, except that they are fed."""
        return not any(s.changes is not None and s.changes.follow_output and s.in_flight for s in self._active)

    @property
    def num_waiting(self) -> int:
        """Sequences that wait to be admitted, for the first time or again."""
        return len(self._policy) + len(self._siblings)

    @property
    def num_running(self) -> int:
        """Sequences that hold a row: their prompt is going in or they are being decoded."""
        return len(self._active)

    @property
    def kv_bytes(self) -> int:
        """What the KV of those who hold a row takes, the next token's included."""
        return sum(self._kv_bytes(sequence) for sequence in self._active)

    @property
    def prefix_cache(self) -> PrefixCache | None:
        """What is kept for others; to be looked at, not changed."""
        return self._prefixes

    @property
    def has_work(self) -> bool:
        """Whether a step has anything to do, be it only to forget rows or to take a result."""
        return bool(self._sequences or self._dropped or self._planned)

    def request_ids(self) -> tuple[str, ...]:
        """Every request that has not ended."""
        return tuple(self._sequences)

    def check_integrity(self) -> None:
        """Raise `AssertionError` unless every sequence is in exactly one place and in the state of that place."""
        waiting = [*self._policy, *self._siblings]
        assert all(s.state is SequenceState.WAITING for s in waiting)
        assert all(s.state in {SequenceState.PREFILLING, SequenceState.RUNNING} for s in self._active)
        held = [s.request_id for s in (*waiting, *self._active)]
        assert len(held) == len(set(held)), "a sequence is in two places"
        assert set(held) == set(self._sequences), "a sequence is lost"
        assert len(self._active) <= self._most_active
        self._siblings.check_integrity()
        if self._prefixes is not None and not any(s.reused.blocks for s in self._active):
            self._prefixes.check_integrity()

    def _take_as_fed(self) -> None:
        """The chunks of the latest plan are on their way into their rows: what comes after may build on it."""
        if not self._planned or self._planned[-1].is_taken:
            return
        latest = self._planned[-1]
        latest.is_taken = True
        for chunk in latest.plan.prefill:
            sequence = chunk.sequence
            if sequence.state is SequenceState.PREFILLING:  # else it was aborted meanwhile
                self._let_go(sequence)
                sequence.num_computed = chunk.stop
                if chunk.stop in sequence.checkpoints:
                    self._remember(sequence)
                if chunk.is_last and not self.config.checkpoints:
                    self._remember(sequence, whole=True)
            for sampled in chunk.sampled:
                if sampled.state is SequenceState.PREFILLING:
                    sampled.state = SequenceState.RUNNING

    def _check(self, requests: tuple[Request, ...]) -> None:
        """Raise unless requests can be queued together."""
        first = requests[0]
        for request in requests:
            if (request.prompt, request.priority, request.client) != (first.prompt, first.priority, first.client):
                raise ValueError("requests that share a prompt have one prompt, one priority and one client")
            if request.request_id in self._sequences:
                raise DuplicateRequestError(f"request {request.request_id!r} is already here")
            needed = self.config.kv_cost.of(len(request.prompt) + request.max_tokens)
            if self.config.kv_budget is not None and needed > self.config.kv_budget:
                raise RequestTooLargeError(f"{needed} bytes of KV are needed, and {self.config.kv_budget} are all there is")
        if len({request.request_id for request in requests}) < len(requests):
            raise DuplicateRequestError(f"of the requests that come with {first.request_id!r}, two have one id")

    def _queue(self, sequences: list[Sequence]) -> None:
        """Let sequences of one prompt wait: the first to be admitted, the others for the first."""
        if sequences:
            leader, *followers = sequences
            self._policy.add(leader)
            self._siblings.follow(leader, followers)

    def _unused_bytes(self) -> int:
        """What the running sequences leave of the budget."""
        return sys.maxsize if self.config.kv_budget is None else self.config.kv_budget - self.kv_bytes

    def _fit_prefixes(self) -> None:
        """Give what is kept for others the room that the running sequences leave."""
        if self._prefixes is not None:
            self._prefixes.budget = self._unused_bytes()
            self._prefixes.make_room(0)

    def _remember(self, sequence: Sequence, *, whole: bool = False) -> None:
        """Let the KV of a row be kept as it is now, for others that begin alike: up to its last token, or in whole blocks."""
        if self._prefixes is not None:
            tokens = sequence.computed
            self._prefixes.budget = self._unused_bytes()  # a row that ended no longer counts, but for what is kept of it
            kept = self._prefixes.insert(tokens[: len(tokens) // BLOCK_TOKENS * BLOCK_TOKENS] if whole else tokens)
            if kept is not None:
                self._keep.append((sequence.request_id, kept))

    def _let_go(self, sequence: Sequence) -> None:
        """What a row began with has been read, or won't be."""
        if self._prefixes is not None:
            self._prefixes.unlock(sequence.reused)
        sequence.reused = NOTHING

    def _kv_bytes(self, sequence: Sequence) -> int:
        return self.config.kv_cost.of(sequence.num_tokens)

    def _room(self, sequences: Iterable[Sequence]) -> int:
        """What newcomers must find room for."""
        return sum(self.config.kv_cost.of(min(s.num_tokens + _HEADROOM, s.most_tokens)) for s in sequences)

    def _fits(self, used: int) -> bool:
        return self.config.kv_budget is None or used <= self.config.kv_budget

    def _make_room(self) -> bool:
        """Preempt until the next step's KV fits; whether anybody had to yield."""
        budget = self.config.kv_budget
        if budget is None:
            return False
        used = self.kv_bytes
        yielded = False
        while used > budget:
            victim = self._policy.victim(self._active)
            used -= self._kv_bytes(victim)
            self._preempt(victim)
            yielded = True
        return yielded

    def _preempt(self, sequence: Sequence) -> None:
        self._active.remove(sequence)
        self._dropped.append(sequence.request_id)
        self.num_preemptions += 1
        self._remember(sequence)
        self._let_go(sequence)
        sequence.preempt()
        self._policy.add(sequence)

    def _admit(self) -> None:
        now = self._clock()
        leaders = self._active if len(self._siblings) else ()
        expected = [sibling for leader in leaders for sibling in self._siblings.of(leader)]
        rows = len(self._active) + len(expected)
        used = self.kv_bytes + self._room(expected)
        while rows < self.config.max_num_seqs:
            sequence = self._policy.peek()
            if sequence is None:
                return
            used += self._room([sequence])
            if not self._fits(used):
                return  # whoever is next waits for room: letting others pass would starve it
            self._policy.pop()
            siblings = self._siblings.of(sequence)
            rows += 1 + len(siblings)
            used += self._room(siblings)
            sequence.admit(now, self._prefixes.lock(sequence.context) if self._prefixes is not None else NOTHING)
            if self.config.checkpoints:
                sequence.checkpoints = checkpoints(len(sequence.context), sequence.reused, self.config.kv_cost.window)
            if not sequence.preemptions:
                self._policy.charge(sequence, sequence.num_prompt - sequence.num_cached, 0)
            self._active.append(sequence)

    def _chunks(self, budget: int) -> Iterator[Chunk]:
        for sequence in tuple(self._active):  # which forks join meanwhile
            if budget <= 0:
                return
            if sequence.state is SequenceState.PREFILLING:
                stop = min(sequence.next_stop, sequence.num_computed + budget)
                budget -= stop - sequence.num_computed
                forks = self._fork(sequence) if stop == len(sequence.context) else ()
                yield Chunk(sequence, sequence.num_computed, stop, forks)

    def _fork(self, leader: Sequence) -> tuple[Sequence, ...]:
        """Give rows to those who wait for a prompt that is about to be complete, as far as there is room."""
        siblings = self._siblings.take(leader)
        if not siblings:
            return ()
        used = self.kv_bytes
        forks = 0
        for sibling in siblings:
            used += self._room([sibling])
            if len(self._active) >= self.config.max_num_seqs or not self._fits(used):
                break
            sibling.fork(leader)
            self._policy.join(sibling)
            self._active.append(sibling)
            forks += 1
        self._queue(siblings[forks:])
        return tuple(siblings[:forks])

    def _events(self, planned: "_Planned", result: StepResult) -> Iterator[TokenEvent]:
        now = self._clock()
        for sequence, preemptions in planned.owed:
            if sequence.state is SequenceState.FINISHED or sequence.preemptions != preemptions:
                continue
            request_id = sequence.request_id
            token = result.tokens[request_id]
            sequence.append(token, now)
            self._policy.charge(sequence, 0, 1)
            reason = sequence.finish_reason
            logprobs = result.logprobs.get(request_id)
            decode = now - sequence.first_token
            yield TokenEvent(request_id, token, sequence.timing, decode, reason, logprobs, sequence.num_cached)
            if reason is not None:
                self._finish(sequence, reason)

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        if sequence.state is not SequenceState.WAITING:
            self._active.remove(sequence)
            self._dropped.append(sequence.request_id)
            self._remember(sequence)
            self._let_go(sequence)
        self._policy.remove(sequence)
        self._siblings.remove(sequence)
        self._queue(self._siblings.take(sequence))
        sequence.state = SequenceState.FINISHED
        sequence.finish_reason = reason
        del self._sequences[sequence.request_id]
