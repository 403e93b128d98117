"""Which models of a place have a name like one that isn't there."""

import difflib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from omlx.downloads.patience import Patience

_SECONDS = 8  # for all searches together: it is only a hint
_SHOWN = 3


def nearest(search: Callable[[str], Sequence[str]], name: str, seconds: float = _SECONDS) -> list[str]:
    """Names like a name, the likeliest first; none where the place doesn't say in time. Raises nothing.

    Args:
        search: The names that a search of the place brings for some words, the most fetched first.
        name: The one that isn't there.
        seconds: For all searches together.
    """
    try:
        return Patience(seconds, tries=1).ask("", lambda: _look(search, name))
    except Exception:  # whatever it is: the model's absence is what has to be told
        return []


def _look(search: Callable[[str], Sequence[str]], name: str) -> list[str]:
    for words in _shorter(name.rpartition("/")[2]):
        if names := search(words):
            return _like(name, names)
    return []


def _shorter(name: str) -> Iterator[str]:
    """A name, and what is left of it without its last words."""
    words = re.split(r"([-_.\s]+)", name)
    return itertools.islice(("".join(words[:count]) for count in range(len(words), 0, -2) if words[count - 1]), 4)


def _like(name: str, names: Sequence[str]) -> list[str]:
    wanted = name.lower()
    by_likeness = {each: each.lower() if "/" in name else each.lower().rpartition("/")[2] for each in names}
    return sorted(names, key=lambda each: -difflib.SequenceMatcher(None, wanted, by_likeness[each]).ratio())[:_SHOWN]
