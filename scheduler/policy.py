"""In which order waiting sequences are admitted, and who yields when memory runs out. Knows no batch and no budget."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from time import monotonic
from typing import Generic, Protocol, TypeVar

from scheduler.request import Sequence

_T = TypeVar("_T", bound=Hashable)


class Policy(Protocol):
    """Holds the sequences that wait, and is told what happens to the others.

    The caller `add`s a sequence when it arrives, `pop`s it when it is admitted, `charge`s what it is served, and
    `remove`s it when it has ended, wherever it stands then. To preempt one, it raises `Sequence.preemptions` and adds it
    again: it goes ahead of the others of its class, and it is as if it had never left the batch. One that never waited, because
    it shares another's prompt, it lets `join`; no prompt is charged for that one.

    A prompt is charged at once after the `pop` that admits it first (`Sequence.preemptions == 0`), before the next `peek`, so
    that one client doesn't get the whole batch on one counter; less what a cache spares is fine. Computing a prompt or
    output again after a preemption isn't charged. Output is charged as it is generated.
    """

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait: it is new, or it was preempted. It must not wait already."""

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence that has ended, waiting or admitted. One that isn't known is no error."""

    def peek(self) -> Sequence | None:
        """Who is admitted next; None only when nobody waits."""

    def pop(self) -> Sequence | None:
        """Admit the next: what `peek` gave, if nothing happened since."""

    def join(self, sequence: Sequence) -> None:
        """Take note of a sequence that is admitted without having waited: its prompt is fed for another one too."""

    def charge(self, sequence: Sequence, input_tokens: int, output_tokens: int) -> None:
        """Count service, in tokens, to a sequence that was added, or joined, and not yet removed; else may raise `KeyError`."""

    def victim(self, running: Collection[Sequence]) -> Sequence:
        """Who of these gives its memory back. Raises `ValueError` when there are none."""

    def __len__(self) -> int:
        """How many wait."""

    def __iter__(self) -> Iterator[Sequence]:
        """Those who wait, in no special order."""


class _Heap(Generic[_T]):
    """Items by a key that may grow while they are in, and must not shrink; the first of equals comes first.

    Adding costs O(log n) and discarding O(1). A key that has grown is noticed when its item comes to the top, so growth
    costs nothing in itself. What was discarded is swept out before it outnumbers the rest.
    """

    def __init__(self, key: Callable[[_T], tuple[float, ...]]) -> None:
        self._key = key
        self._entries: list[tuple[tuple[float, ...], int, _T]] = []
        self._numbers: dict[_T, int] = {}
        self._added = 0

    def add(self, item: _T) -> None:
        self._added += 1
        self._numbers[item] = self._added
        heappush(self._entries, (self._key(item), self._added, item))

    def discard(self, item: _T) -> None:
        self._numbers.pop(item, None)
        if len(self._entries) > 16 + 2 * len(self._numbers):
            self._entries = [entry for entry in self._entries if self._numbers.get(entry[2]) == entry[1]]
            heapify(self._entries)

    def top(self) -> _T | None:
        entries = self._entries
        while entries:
            key, number, item = entries[0]
            if self._numbers.get(item) != number:
                heappop(entries)
            elif (grown := self._key(item)) > key:
                heapreplace(entries, (grown, number, item))
            else:
                return item
        return None

    def __contains__(self, item: _T) -> bool:
        return item in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[_T]:
        return iter(self._numbers)


class _Ordered:
    """A policy whose order is one key that a sequence has for as long as it waits. Service changes nothing."""

    def __init__(self, key: Callable[[Sequence], tuple[float, ...]]) -> None:
        self._waiting = _Heap(key)

    def add(self, sequence: Sequence) -> None:
        assert sequence not in self._waiting, f"{sequence.request_id!r} waits already"
        self._waiting.add(sequence)

    def remove(self, sequence: Sequence) -> None:
        self._waiting.discard(sequence)

    def peek(self) -> Sequence | None:
        return self._waiting.top()

    def pop(self) -> Sequence | None:
        sequence = self._waiting.top()
        if sequence is not None:
            self._waiting.discard(sequence)
        return sequence

    def join(self, sequence: Sequence) -> None:
        pass

    def charge(self, sequence: Sequence, input_tokens: int, output_tokens: int) -> None:
        pass

    def victim(self, running: Collection[Sequence]) -> Sequence:
        return _youngest_of_lowest(running)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._waiting)


class FirstComeFirstServed(_Ordered):
    """In order of arrival, whatever the priority. Who arrived last yields."""

    def __init__(self) -> None:
        super().__init__(lambda sequence: (sequence.arrived, not sequence.preemptions))

    def victim(self, running: Collection[Sequence]) -> Sequence:
        return max(enumerate(running), key=lambda entry: (entry[1].arrived, entry[0]))[1]


class PriorityClasses(_Ordered):
    """By priority, then by arrival; `ageing_seconds` of waiting are worth one class. The lowest class' youngest yields.

    A sequence goes ahead of another whose priority value is lower by d if it arrived at least d * `ageing_seconds` before
    it. So nothing that arrives later than that can overtake it, and it starves of nothing; and as the difference of two
    waiting times never changes, neither does the order, which is why no clock is needed. A preempted sequence keeps its place.

    Raises `ValueError` when `ageing_seconds` isn't above 0.
    """

    def __init__(self, ageing_seconds: float = 30.0) -> None:
        _check_positive("ageing_seconds", ageing_seconds)
        super().__init__(
            lambda sequence: (sequence.arrived + ageing_seconds * sequence.request.priority, not sequence.preemptions)
        )


@dataclass(frozen=True, slots=True)
class FairShareConfig:
    """What service costs, and how much waiting is worth.

    Attributes:
        input_weight, output_weight: What a token of prompt and one of output add to the client's counter.
        ageing_seconds: The time without an admission that lifts a priority class by one.
        credit_per_second: By how much a client's counter counts for less, for each second without an admission. With 0,
            clients that are new each time can keep an old one waiting for as long as they keep coming.
        max_idle_clients: How many clients are remembered that have nothing here but were served more than their share.
    """

    input_weight: float = 1.0
    output_weight: float = 2.0
    ageing_seconds: float = 30.0
    credit_per_second: float = 50.0
    max_idle_clients: int = 1024

    def __post_init__(self) -> None:
        for name in ("input_weight", "output_weight", "ageing_seconds"):
            _check_positive(name, getattr(self, name))
        for name in ("credit_per_second", "max_idle_clients"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")


class _Client:
    """One client's account in one class, and what of it waits for its first admission."""

    __slots__ = ("admitted", "counter", "name", "priority", "queue", "since")

    def __init__(self, name: str, priority: int) -> None:
        self.name = name
        self.priority = priority
        self.counter = 0.0
        self.since = 0.0  # seconds: its last admission, or when it began to wait if that was later
        self.queue: _Heap[Sequence] = _Heap(_arrival)
        self.admitted: set[Sequence] = set()  # until they end, so also while they are preempted


class _Class:
    """The clients of one priority, and whose turn it is among them."""

    __slots__ = ("clients", "floor", "last", "preempted", "priority", "since", "turns")

    def __init__(self, priority: int, credit_per_second: float) -> None:
        self.priority = priority
        self.clients: dict[str, _Client] = {}
        self.turns: _Heap[_Client] = _Heap(lambda client: (client.counter + credit_per_second * client.since, client.since))
        self.preempted: _Heap[Sequence] = _Heap(_arrival)
        self.last: _Client | None = None  # the last whose queue became empty
        self.since = 0.0  # seconds: its last admission, or when it began to wait if that was later
        self.floor = 0.0

    @property
    def is_waiting(self) -> bool:
        return bool(self.turns) or bool(self.preempted)

    def rise(self) -> float:
        """The counter that a client has at least when it joins now. Never falls."""
        level = self.turns.top() or self.last
        if level is not None:
            self.floor = max(self.floor, level.counter)
        return self.floor

    def next(self) -> Sequence:
        sequence = self.preempted.top()
        if sequence is None:
            client = self.turns.top()
            sequence = client.queue.top() if client else None
        assert sequence is not None, "a class without sequences is among those that wait"
        return sequence


class FairShare:
    """Clients share each priority class fairly, by the service they got; a class gives way to a lower one only by age.

    **Within a class**: the virtual token counter, Algorithm 2 of Sheng et al., "Fairness in Serving Large Language Models",
    OSDI 2024. A client's counter is its weighted tokens; the client with the smallest goes next, with its earliest sequence.
    A client whose queue was empty is lifted to the smallest counter of those who wait, or, if nobody does, to that of the
    client whose queue became empty last: having been away is no credit. Counters belong to a class and a client.

    Let M be the most tokens, of prompt and output, that sequences admitted and not ended at one time have at their end
    (preempted ones are among these), and U = max(input_weight, output_weight) * M. While two clients of a class both have
    sequences waiting, their counters differ by at most U + credit_per_second * T, and so the service they get in any
    interval of that time by at most twice that. T is the longest that either waited between two admissions. Without
    credit this is the paper's bound (its U is max(input_weight * longest prompt, output_weight * M)).
    The credit is ours: the paper's order lets an endless row of new clients, each lifted to the smallest counter
    only, pass an old one. With it, a client that is d above the others waits for d / credit_per_second seconds at most
    before those who join later stand behind it.

    **Between classes**: the lowest priority value first. But a class is due when it has had no admission for
    `ageing_seconds` times its distance from the lowest value that waits, and of those that are due (the lowest always is) the
    one with the smallest sum of its last admission and `ageing_seconds` * priority goes next. So while c classes wait, each
    has an admission within that time and c pops. It is the class that ages, not the sequence: a long backlog of one client
    doesn't age ahead of everyone else, and the order within the class, with its bound, stands.

    **Preempted** sequences go first in their class, by arrival. For the counters they are in the batch all along: they don't make
    their client one that waits, and they are charged no prompt again.

    Adding, removing, admitting and charging cost O(log n), amortised. A client is forgotten when it has nothing here and its
    return would lift it anyway; of others with nothing here, `max_idle_clients` are remembered.
    """

    def __init__(self, config: FairShareConfig | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.config = config or FairShareConfig()
        self._clock = clock
        self._classes: dict[int, _Class] = {}
        ageing = self.config.ageing_seconds
        self._by_priority: _Heap[_Class] = _Heap(lambda group: (group.priority,))
        self._by_age: _Heap[_Class] = _Heap(lambda group: (group.since + ageing * group.priority, group.since))
        self._idle: OrderedDict[_Client, None] = OrderedDict()  # the one that has been idle longest first
        self._peeked: Sequence | None = None
        self._len = 0

    def add(self, sequence: Sequence) -> None:
        group, client = self._open(sequence)
        assert sequence not in client.queue, f"{sequence.request_id!r} waits already"
        assert sequence not in group.preempted, f"{sequence.request_id!r} waits already"
        self._peeked = None
        self._len += 1
        now = self._clock()
        if not group.is_waiting:
            group.since = now
            self._by_priority.add(group)
            self._by_age.add(group)
        if sequence.preemptions:
            client.admitted.add(sequence)
            group.preempted.add(sequence)
        else:
            client.queue.add(sequence)
            if client not in group.turns:
                client.counter = max(client.counter, group.rise())
                client.since = now
                group.turns.add(client)

    def remove(self, sequence: Sequence) -> None:
        group = self._classes.get(sequence.request.priority)
        client = group.clients.get(sequence.request.client) if group else None
        if group is None or client is None:
            return
        self._peeked = None
        self._unqueue(group, client, sequence)
        client.admitted.discard(sequence)
        if not client.admitted and not client.queue:
            self._idle[client] = None
        self._forget()

    def peek(self) -> Sequence | None:
        group = self._group(self._clock())
        self._peeked = group.next() if group else None
        return self._peeked

    def pop(self) -> Sequence | None:
        sequence = self._peeked or self.peek()
        if sequence is None:
            return None
        self._peeked = None
        group, client = self._open(sequence)
        self._unqueue(group, client, sequence)
        group.since = self._clock()
        if not sequence.preemptions:
            client.since = group.since
            client.admitted.add(sequence)
        return sequence

    def join(self, sequence: Sequence) -> None:
        _, client = self._open(sequence)
        client.admitted.add(sequence)

    def charge(self, sequence: Sequence, input_tokens: int, output_tokens: int) -> None:
        assert input_tokens >= 0, "service can't be taken back"
        assert output_tokens >= 0, "service can't be taken back"
        client = self._classes[sequence.request.priority].clients[sequence.request.client]
        client.counter += self.config.input_weight * input_tokens + self.config.output_weight * output_tokens
        self._peeked = None

    def victim(self, running: Collection[Sequence]) -> Sequence:
        return _youngest_of_lowest(running)

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[Sequence]:
        for group in self._by_priority:
            yield from group.preempted
            for client in group.turns:
                yield from client.queue

    @property
    def num_clients(self) -> int:
        """Accounts that are kept: one for each class and client that has something here, and the idle ones."""
        return sum(len(group.clients) for group in self._classes.values())

    def _group(self, now: float) -> _Class | None:
        """The class whose turn it is."""
        first, oldest = self._by_priority.top(), self._by_age.top()
        if first is None or oldest is None:
            return None
        passed_over = now - oldest.since
        return oldest if passed_over >= self.config.ageing_seconds * (oldest.priority - first.priority) else first

    def _open(self, sequence: Sequence) -> tuple[_Class, _Client]:
        """A sequence's class and client, made if they aren't here; the client is idle no more."""
        request = sequence.request
        group = self._classes.get(request.priority)
        if group is None:
            group = self._classes[request.priority] = _Class(request.priority, self.config.credit_per_second)
        client = group.clients.get(request.client)
        if client is None:
            client = group.clients[request.client] = _Client(request.client, request.priority)
        self._idle.pop(client, None)
        return group, client

    def _unqueue(self, group: _Class, client: _Client, sequence: Sequence) -> None:
        """Take a sequence from where it waits, if it does, and whoever waits for nothing else from the turns."""
        if sequence in client.queue:
            client.queue.discard(sequence)
            if not client.queue:
                group.turns.discard(client)
                group.last = client
        elif sequence in group.preempted:
            group.preempted.discard(sequence)
        else:
            return
        self._len -= 1
        if not group.is_waiting:
            self._by_priority.discard(group)
            self._by_age.discard(group)

    def _forget(self) -> None:
        """Drop idle clients, the longest idle first, while they can't matter or are too many."""
        while self._idle:
            client = next(iter(self._idle))
            group = self._classes[client.priority]
            if client.counter > group.rise() and len(self._idle) <= self.config.max_idle_clients:
                return
            del self._idle[client]
            del group.clients[client.name]
            if not group.clients:
                del self._classes[group.priority]


def _arrival(sequence: Sequence) -> tuple[float, ...]:
    return (sequence.arrived,)


def _youngest_of_lowest(running: Collection[Sequence]) -> Sequence:
    return max(enumerate(running), key=lambda entry: (entry[1].request.priority, entry[1].arrived, entry[0]))[1]


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, not {value}")
