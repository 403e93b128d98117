"""Which models on a hub have a name like one that isn't there."""

import difflib
import itertools
import queue
import re
import threading
from collections.abc import Iterator

from omlx.downloads.hub import Hub

_SECONDS = 8  # for all searches together: it is only a hint
_FOUND = 50  # models of a search, the most fetched first
_SHOWN = 3


def nearest(hub: Hub, name: str, seconds: float = _SECONDS) -> list[str]:
    """Names like a name, the likeliest first; none where the hub doesn't say in time. Raises nothing."""
    found: queue.Queue[list[str]] = queue.Queue()
    # The library's search has no time limit, and tries again by itself; a thread can be left behind.
    threading.Thread(target=lambda: found.put(_search(hub, name)), daemon=True).start()
    try:
        return found.get(timeout=seconds)
    except queue.Empty:
        return []


def _search(hub: Hub, name: str) -> list[str]:
    try:
        for words in _shorter(name.rpartition("/")[2]):
            ids = [each.id for each in hub.api.list_models(search=words, sort="downloads", limit=_FOUND) if each.id.isprintable()]
            if ids:
                return _like(name, ids)
    except Exception:  # whatever it is: the model's absence is what has to be told
        return []
    return []


def _shorter(name: str) -> Iterator[str]:
    """A name, and what is left of it without its last words."""
    words = re.split(r"([-_.\s]+)", name)
    return itertools.islice(("".join(words[:count]) for count in range(len(words), 0, -2) if words[count - 1]), 4)


def _like(name: str, ids: list[str]) -> list[str]:
    wanted = name.lower()
    by_likeness = {each: each.lower() if "/" in name else each.lower().rpartition("/")[2] for each in ids}
    return sorted(ids, key=lambda each: -difflib.SequenceMatcher(None, wanted, by_likeness[each]).ratio())[:_SHOWN]
