"""What a model's answers are made of: text, reasoning, calls of tools, and the marks between them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

Parse = Callable[[str, Sequence[Mapping[str, Any]]], object]


class Kind(Enum):
    """What a stretch of an answer is."""

    TEXT = auto()
    REASONING = auto()
    CALL = auto()
    HEADER = auto()


@dataclass(frozen=True, slots=True)
class Mark:
    """A text that is no part of an answer, and ends one stretch of it.

    Attributes:
        text: What it is.
        opens: The stretch after it, a key of `AnswerFormat.stretches`.
        only_first: In a text, it counts before there is any: a model that thinks does so first, and may speak of its marks later.
    """

    text: str
    opens: str
    only_first: bool = False


@dataclass(frozen=True, slots=True)
class Stretch:
    """One kind of stretch.

    Attributes:
        marks: What ends it. A call is ended by `CallFormat.end`.
    """

    kind: Kind
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How a call of a tool is written.

    Attributes:
        start: What begins it.
        end: What ends it; empty where it ends with a JSON value.
        parse: Makes calls of the text between, given the tools: each an object with `name`, `arguments` and perhaps `id`, or a list
            of these. Raises whatever it likes for a text that is none.
        keeps_marks: Whether `parse` gets start and end too.
    """

    start: str
    end: str
    parse: Parse
    keeps_marks: bool = False


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How one model, with one chat template, writes its answers.

    Attributes:
        stretches: Every stretch that there may be, by name.
        calls: How the calls are written, by the name of their stretch. The first is what an answer is made to begin with.
        first: Where an answer begins, unless the prompt has opened another stretch.
        reasoning: What opens the stretch `reasoning`, and what ends it, where a prompt may do so too.
    """

    stretches: Mapping[str, Stretch] = field(default_factory=lambda: {"text": Stretch(Kind.TEXT)})
    calls: Mapping[str, CallFormat] = field(default_factory=dict)
    first: str = "text"
    reasoning: tuple[str, str] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether an answer is all text."""
        return len(self.stretches) == 1

    def opened_by(self, prompt: str) -> str:
        """The stretch that a prompt's end has opened. Templates of models that think end in what opens the reasoning, or closes it."""
        return "reasoning" if self.reasoning is not None and prompt.rstrip().endswith(self.reasoning[0]) else self.first

    def call_begun(self, prompt: str) -> str:
        """What to put behind a prompt so that the answer goes on with a call."""
        opening = next(iter(self.calls.values())).start
        return f"\n{self.reasoning[1]}\n\n{opening}" if self.reasoning and self.opened_by(prompt) == "reasoning" else opening


PLAIN = AnswerFormat()


class AnswerFormats(Protocol):
    """How a model writes its answers."""

    def __call__(self, template: str | None, /) -> AnswerFormat:
        """With a chat template, the model's own for None. Quick once it has been asked for that."""
        ...


def plain_formats(_template: str | None) -> AnswerFormat:
    """Those of a model of which nothing is known. See `AnswerFormats`."""
    return PLAIN


def tagged_format(reasoning: tuple[str, str] | None, calls: Sequence[CallFormat], dropped: Sequence[Mark] = ()) -> AnswerFormat:
    """The usual one: reasoning and calls in tags of their own, and text around them.

    Args:
        reasoning: What opens and what closes it.
        calls: How calls are written.
        dropped: Other marks in the text, which mean nothing to a reader.
    """
    named = {"call" if not number else f"call {number}": call for number, call in enumerate(calls)}
    into_calls = tuple(Mark(call.start, name) for name, call in named.items())
    thinking = () if reasoning is None else (Mark(reasoning[0], "reasoning", only_first=True),)
    stretches = {
        "text": Stretch(Kind.TEXT, (*thinking, *into_calls, *dropped)),
        **{name: Stretch(Kind.CALL) for name in named},
    }
    if reasoning is not None:
        # Some models call from within their reasoning, and leave it open.
        stretches["reasoning"] = Stretch(Kind.REASONING, (Mark(reasoning[1], "text"), *into_calls))
    return AnswerFormat(stretches, named, reasoning=reasoning)
