"""Where a model finds memory, and who goes when it is short. Decides by numbers only; who carries it out is `actors.catalog.admission`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Standing(Enum):
    """Whether an engine's memory can be had."""

    IDLE = "may go"
    LEAVING = "is going, or may go shortly"
    HELD = "stays: it is pinned, or has something to do"


@dataclass(frozen=True, slots=True)
class Holding:
    """An engine, as the budget sees it.

    Attributes:
        node: Where it stands.
        reserved: Bytes that it was promised, or takes if that is more.
        last_used: When it last had a request; seconds of any clock.
    """

    engine_id: str
    node: str
    reserved: int
    standing: Standing
    last_used: float


@dataclass(frozen=True, slots=True)
class Place:
    """There is room on a node."""

    node: str


@dataclass(frozen=True, slots=True)
class Evict:
    """An engine should go, and then one looks again."""

    engine_id: str


class Verdict(Enum):
    """What to do where there is no room and nobody should go."""

    WAIT = "there will be room without anybody's being sent away"
    REFUSE = "there is no room to be had"


def free_on(nodes: Mapping[str, int], holdings: Iterable[Holding]) -> dict[str, int]:
    """What is left of each node's bytes; less than nothing where its engines take more than they may."""
    free = dict(nodes)
    for each in holdings:
        if each.node in free:  # else it is about to end, as its node did
            free[each.node] -= each.reserved
    return free


def decide(
    needed: int, nodes: Mapping[str, int], holdings: Iterable[Holding], *, evicting: bool = True
) -> Place | Evict | Verdict:
    """How to find room for so many bytes on one node.

    The node with the most room is taken. Where none has enough, the least recently used goes first, one at a time, and nobody from a
    node where all of them would not be enough.

    Args:
        needed: The bytes.
        nodes: Bytes for all engines on a node, by its id.
        holdings: The engines.
        evicting: Whether any may be sent away, or waited for.
    """
    holdings = list(holdings)
    free = free_on(nodes, holdings)
    roomiest = max(free, key=lambda node: (free[node], node), default=None)
    if roomiest is not None and needed <= free[roomiest]:
        return Place(roomiest)
    if not evicting:
        return Verdict.REFUSE
    idle = {node: _together(holdings, node, Standing.IDLE) for node in nodes}
    worthwhile = [each for each in holdings if each.node in nodes and needed <= free[each.node] + idle[each.node]]
    if worthwhile:
        return Evict(least_recent(worthwhile).engine_id)
    if any(needed <= free[node] + idle[node] + _together(holdings, node, Standing.LEAVING) for node in nodes):
        return Verdict.WAIT
    return Verdict.REFUSE


def least_recent(holdings: Iterable[Holding]) -> Holding:
    """The one that goes first. Raises `ValueError` where none may."""
    idle = (each for each in holdings if each.standing is Standing.IDLE)
    return min(idle, key=lambda each: (each.last_used, each.engine_id))


def _together(holdings: Iterable[Holding], node: str, standing: Standing) -> int:
    return sum(each.reserved for each in holdings if each.node == node and each.standing is standing)
