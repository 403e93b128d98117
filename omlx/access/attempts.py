"""How often somebody may be wrong at signing in."""

import ipaddress
import math
import time
from collections import deque
from collections.abc import Callable

from omlx.access.errors import AttemptsError

MOST = 5  # wrong attempts of one address
SECONDS = 900.0  # in which they count
_ADDRESSES = 10_000  # that are remembered
_NETWORK = 64  # bits of an address of version 6 that one customer has to himself


class Attempts:
    """Counts wrong attempts by address.

    Args:
        clock: Seconds that go on steadily.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: dict[str, deque[float]] = {}  # when, by address; the address that was wrong last is the last

    def check(self, address: str) -> None:
        """Raise `AttemptsError` for an address that may not try now."""
        times = self._recent(_network(address))
        if len(times) >= MOST:
            wait = math.ceil(times[0] + SECONDS - self._clock())
            raise AttemptsError(f"Too many wrong attempts. Try again in {wait} s.", wait)

    def wrong(self, address: str) -> None:
        """Count one."""
        network = _network(address)
        times = self._recent(network)
        times.append(self._clock())
        self._wrong.pop(network, None)
        self._wrong[network] = times
        while len(self._wrong) > _ADDRESSES:
            del self._wrong[next(iter(self._wrong))]

    def right(self, address: str) -> None:
        """Forget an address' wrong ones."""
        self._wrong.pop(_network(address), None)

    def _recent(self, network: str) -> deque[float]:
        times = self._wrong.get(network, deque())
        while times and times[0] <= self._clock() - SECONDS:
            times.popleft()
        return times


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped:
        return str(found.ipv4_mapped or found) if found.version == 6 else str(found)
    return str(ipaddress.ip_network((found, _NETWORK), strict=False))
