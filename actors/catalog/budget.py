"""Who goes when memory is short. Decides by numbers only; who carries it out is `actors.catalog.admission`."""

from collections.abc import Iterable
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
        reserved: Bytes that it was promised, or takes if that is more.
        last_used: When it last had a request; seconds of any clock.
    """

    engine_id: str
    reserved: int
    standing: Standing
    last_used: float


@dataclass(frozen=True, slots=True)
class Evict:
    """An engine should go, and then one looks again."""

    engine_id: str


class Verdict(Enum):
    """What to do where nobody should go."""

    FITS = "there is room"
    WAIT = "there will be room without anybody's being sent away"
    REFUSE = "there is no room to be had"


def decide(needed: int, free: int, holdings: Iterable[Holding]) -> Verdict | Evict:
    """How to find room for so many bytes.

    The least recently used goes first, one at a time, and nobody where all of them would not be enough.
    """
    holdings = list(holdings)
    idle = _together(holdings, Standing.IDLE)
    if needed <= free:
        return Verdict.FITS
    if needed <= free + idle:
        return Evict(least_recent(holdings).engine_id)
    if needed <= free + idle + _together(holdings, Standing.LEAVING):
        return Verdict.WAIT
    return Verdict.REFUSE


def least_recent(holdings: Iterable[Holding]) -> Holding:
    """The one that goes first. Raises `ValueError` where none may."""
    idle = (each for each in holdings if each.standing is Standing.IDLE)
    return min(idle, key=lambda each: (each.last_used, each.engine_id))


def _together(holdings: Iterable[Holding], standing: Standing) -> int:
    return sum(each.reserved for each in holdings if each.standing is standing)
