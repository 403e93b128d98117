"""Which of a model's engines gets a prompt: the one that knows most of its beginning, unless it is busier than the others."""

from collections import OrderedDict
from collections.abc import Mapping

import orjson

from actors.contracts import ChatPrompt, TextPrompt, TokenPrompt

_PIECE = 256  # bytes
_MOST_BYTES = 1024 * _PIECE  # of a prompt that are looked at
_KEPT_PIECES = 65_536

Prompt = ChatPrompt | TextPrompt | TokenPrompt


class Replicas:
    """Remembers which engines were given which beginnings of prompts. A guess at what they have kept, and nothing depends on it.

    Args:
        kept_pieces: How many pieces of prompts are remembered; those that came up last.
    """

    def __init__(self, kept_pieces: int = _KEPT_PIECES) -> None:
        self._kept_pieces = kept_pieces
        self._known: OrderedDict[int, frozenset[str]] = OrderedDict()  # by piece, the engines that were given it
        self._turn = 0

    def choose(self, loads: Mapping[str, int], prompt: Prompt | None) -> str:
        """The engine for a prompt, which is expected to know it from now on.

        Args:
            loads: How many requests each engine has, by id.
            prompt: What it is to answer; None where nothing is kept of what was asked, so that the least busy one is it.
        """
        pieces = [] if prompt is None else prefix_pieces(prompt)
        bound = 1.5 * min(loads.values()) + 2
        matches = self._matches({engine_id for engine_id, load in loads.items() if load <= bound}, pieces)
        longest = max(matches.values())
        best = [engine_id for engine_id, match in matches.items() if match == longest]
        least = min(loads[engine_id] for engine_id in best)
        equals = [engine_id for engine_id in best if loads[engine_id] == least]
        self._turn += 1
        chosen = equals[self._turn % len(equals)]
        self._note(chosen, pieces, loads)
        return chosen

    def _matches(self, engine_ids: set[str], pieces: list[int]) -> dict[str, int]:
        """How many pieces from the first on each engine knows."""
        matches = dict.fromkeys(sorted(engine_ids), 0)
        for piece in pieces:
            engine_ids = engine_ids & self._known.get(piece, frozenset())
            if not engine_ids:
                break
            for engine_id in engine_ids:
                matches[engine_id] += 1
        return matches

    def _note(self, engine_id: str, pieces: list[int], present: Mapping[str, int]) -> None:
        # From the last on: a piece is of no use without those before it, so these must be forgotten later.
        for piece in reversed(pieces):
            others = self._known.pop(piece, frozenset()) & present.keys()
            self._known[piece] = frozenset({*others, engine_id})
        while len(self._known) > self._kept_pieces:
            self._known.popitem(last=False)


def prefix_pieces(prompt: Prompt) -> list[int]:
    """A number for each whole piece of a prompt's beginning, which stands for that piece and all before it."""
    data = _canonical(prompt)
    pieces: list[int] = []
    before = 0
    for start in range(0, min(len(data), _MOST_BYTES) - _PIECE + 1, _PIECE):
        before = hash((before, data[start : start + _PIECE]))
        pieces.append(before)
    return pieces


def _canonical(prompt: Prompt) -> bytes:
    """The prompt so that what another goes on from is a beginning of it."""
    if isinstance(prompt, TextPrompt):
        return prompt.text.encode()
    if isinstance(prompt, TokenPrompt):
        return " ".join(map(str, prompt.token_ids)).encode()
    tools = () if prompt.tools is None else prompt.tools.functions  # templates have them at the beginning
    return b"".join(orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in (*tools, *prompt.messages))
