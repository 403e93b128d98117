"""Splits an answer that comes piece by piece into reasoning, text and calls of tools."""

import logging
from collections.abc import Iterable
from typing import NamedTuple

from actors.contracts import ToolCall
from actors.engine.answer_format import AnswerFormat, CallFormat, Kind, Mark
from actors.engine.tool_calls import CallReader, JsonEnd, UnreadableCallError

_log = logging.getLogger(__name__)


class Said(NamedTuple):
    """Some of an answer, in this order."""

    reasoning: str = ""
    text: str = ""
    calls: tuple[ToolCall, ...] = ()


class _Call:
    """A call that has begun: what has come of it is the splitter's held text. The stretch that it began in goes on behind it.

    Attributes:
        written: How it is written.
        start: What began it.
        ended: Where it would have ended, but was no call by then; 0 before that.
        seen: How much of the text has been looked through for its end.
    """

    def __init__(self, written: CallFormat, start: str) -> None:
        self.written, self.start = written, start
        self.ended = self.seen = 0
        self.json = JsonEnd()


class Splitter:
    """Splits one answer. However it is cut into pieces, the same comes out, and no word of it is lost.

    Marks are left out, and white space around them: clients and templates put their own there. A call is given out when it is
    whole. One that can't be read is given out as the text that it is, in the stretch that it began in; whether it can't is certain
    only at the end of the answer, as what ends it may also stand within one of its arguments.

    Args:
        written: How the model writes.
        opened: The stretch that the prompt has opened.
        reader: Reads the calls; without it, what looks like one is text.
        one_call: Nothing comes after the first call.
    """

    def __init__(
        self, written: AnswerFormat, opened: str | None = None, reader: CallReader | None = None, *, one_call: bool = False
    ) -> None:
        self._format = written
        self._reader = reader
        self._one_call = one_call
        self._held = ""
        self._spaces = {Kind.TEXT: ""}  # at the end of what has come of each
        self._begun: set[Kind] = set()  # what something has been given out of
        self._is_first = True  # no text since the answer or its last call began
        self._has_marks = opened is not None and opened != written.first
        self._call: _Call | None = None
        self._stretch = ""
        self._initials: frozenset[str] = frozenset()  # of the present stretch's marks
        self.has_called = False
        self.is_over = False
        self._texts = {
            mark.text
            for stretch in written.stretches.values()
            for mark in stretch.marks
            if reader is not None or mark.opens not in written.calls
        }
        self._go_on(opened or written.first)

    @property
    def is_reasoning(self) -> bool:
        """Whether what comes next is reasoning, as far as is known."""
        return self._call is None and self._kind() is Kind.REASONING

    def wants(self, mark: str) -> bool:
        """Whether a special token matters here: it may be a mark, or part of one, or of a call."""
        return self._call is not None or any(mark in each for each in self._texts)

    def add(self, text: str) -> list[Said]:
        """Take more text; what is certain of it."""
        if self.is_over:
            return []
        if not self._held and self._call is None and self._kind() is not Kind.HEADER and self._initials.isdisjoint(text):
            return self._give(self._kind(), text)  # as nearly always
        self._held += text
        said: list[Said] = []
        while not self.is_over:
            step = self._split() if self._call is None else self._read(self._call)
            if step is None:
                break
            said += step
        return joined(said)

    def finish(self, *, is_whole: bool) -> list[Said]:
        """What is left at the end.

        Args:
            is_whole: The model ended its answer; else it was cut off, and so was a call that it had begun.
        """
        said: list[Said] = []
        while self._call is not None:
            said += self._end_call(self._call, is_whole=is_whole)
            said += self.add("")
        if not self.is_over:
            said += self._give_rest()
        self._held = ""
        return joined(said)

    def _kind(self) -> Kind:
        return self._format.stretches[self._stretch].kind

    def _split(self) -> list[Said] | None:
        """Give out what comes before the first mark, and go beyond it; None where there is no more to be done for now."""
        found = [(self._held.find(mark.text), -len(mark.text), mark) for mark in self._marks(self._held)]
        at, _, mark = min((each for each in found if each[0] >= 0), key=lambda each: each[:2], default=(-1, 0, None))
        if mark is None:
            certain = len(self._held) - _begun(self._held, self._marks(self._held))
            if self._kind() is Kind.HEADER or not certain:
                return None
            shown, self._held = self._held[:certain], self._held[certain:]
            return self._give(self._kind(), shown) or None
        before, self._held = self._held[:at], self._held[at + len(mark.text) :]
        said = self._give(self._kind(), before)
        self._has_marks = True
        self._go_on(mark.opens, mark.text)
        return said

    def _marks(self, text: str) -> Iterable[Mark]:
        """The marks that count in the present stretch, of which this text comes next."""
        for mark in self._format.stretches[self._stretch].marks:
            if mark.opens in self._format.calls and self._reader is None:
                continue
            if mark.only_first and not (self._is_first and not text[: max(text.find(mark.text), 0)].strip()):
                continue
            yield mark

    def _go_on(self, stretch: str, mark: str = "") -> None:
        """Begin a stretch; a call begins within the present one, which goes on behind it."""
        if stretch in self._format.calls:
            written = self._format.calls[stretch]
            self._call = _Call(written, mark or written.start)
            stretch = self._stretch or self._format.first
        self._stretch = stretch
        self._initials = frozenset(each.text[0] for each in self._format.stretches[stretch].marks)

    def _read(self, call: _Call) -> list[Said] | None:
        """Look for the call's end; None where it has not come."""
        end = call.written.end
        if not end:
            stop = call.json.find(self._held)
            if stop is None:
                return None
            call.ended = stop
            return self._tried(call, stop, stop) or self._release(call)
        reasoning = self._format.reasoning if self._kind() is Kind.REASONING else None
        marks = (end,) if reasoning is None else (end, reasoning[1])
        found = [(at, mark) for at, mark in ((self._held.find(mark, call.seen), mark) for mark in marks) if at >= 0]
        if not found:
            call.seen = max(call.seen, len(self._held) - max(map(len, marks)) + 1)
            return None
        at, mark = min(found)
        if mark != end:  # the reasoning only spoke of calls
            return self._release(call)
        call.seen = at + len(end)
        call.ended = call.ended or call.seen
        return self._tried(call, at, call.seen) or []

    def _end_call(self, call: _Call, *, is_whole: bool) -> list[Said]:
        """Settle a call whose end has not come when the answer ends."""
        if is_whole and not call.ended:
            said = self._tried(call, len(self._held), len(self._held))
            if said is not None:
                return said
        return self._release(call)

    def _tried(self, call: _Call, stop: int, after: int) -> list[Said] | None:
        """The call, if it can be read up to there; None otherwise."""
        assert self._reader is not None
        try:
            calls = self._reader.read(call.written, self._held[:stop])
        except UnreadableCallError as error:
            _log.debug("this is no call yet: %s", error)
            return None
        self._held = self._held[after:]
        self._call = None
        self.has_called = self._is_first = True
        if self._one_call:
            self.is_over = True
            calls = calls[:1]
        return [Said(calls=calls)]

    def _release(self, call: _Call) -> list[Said]:
        """Give what looked like a call out as text, up to where it would have ended, and go on from there."""
        _log.warning("what began as a call of a tool can't be read as one; its text is part of the answer")
        text = call.start + self._held[: call.ended]
        self._held = self._held[call.ended :]
        self._call = None
        return self._give(Kind.TEXT if self._kind() is Kind.HEADER else self._kind(), text)

    def _give(self, kind: Kind, text: str) -> list[Said]:
        """Some of the answer; white space at its end waits for what comes next."""
        if kind is Kind.HEADER:
            return []
        text = self._spaces.pop(kind, "") + text
        may_end = kind is not Kind.TEXT or self._reader is not None or kind not in self._begun
        shown = text.rstrip() if may_end else text
        self._spaces[kind] = text[len(shown) :]
        if not shown:
            return []
        if kind is Kind.TEXT:
            self._is_first = False
        if kind not in self._begun and self._has_marks:
            shown = shown.lstrip()
        self._begun.add(kind)
        return [Said(text=shown) if kind is Kind.TEXT else Said(reasoning=shown)]

    def _give_rest(self) -> list[Said]:
        """What has waited when the answer ends: white space that it ends in, unless that only came before or after a mark."""
        if self._kind() is Kind.HEADER and not self._has_marks:
            return [Said(text=self._held)] if self._held else []
        said = self._give(self._kind(), self._held)
        space = self._spaces[Kind.TEXT]
        is_its_own = not self.has_called and (Kind.TEXT in self._begun or not self._has_marks)
        return [*said, Said(text=space)] if space and is_its_own else said


def _begun(text: str, marks: Iterable[Mark]) -> int:
    """How many characters at the end may become a mark."""
    texts = [mark.text for mark in marks]
    longest = min(max(map(len, texts), default=1) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if any(each.startswith(text[-n:]) for each in texts)), 0)


def joined(said: Iterable[Said]) -> list[Said]:
    """The same in as few as keep the order, and none that says nothing."""
    result: list[Said] = []
    for each in said:
        last = result[-1] if result else None
        if not any(each):
            continue
        if last is None or (last.calls and (each.reasoning or each.text)) or (last.text and each.reasoning):
            result.append(each)
        else:
            result[-1] = Said(last.reasoning + each.reasoning, last.text + each.text, last.calls + each.calls)
    return result
