"""A call of a tool, from a model's text to a name and arguments that are known to be whole."""

import json
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.contracts import ToolCall
from actors.engine.answer_format import CallFormat

_LETTERS = string.ascii_letters + string.digits
_ID_LENGTH = 9  # letters and digits: the chat templates of Mistral take no other
_KEYED = re.compile(r"<(\w*arg)_key>")
_JSON_BEGINS = re.compile(r"\{|\[\s*(?=[{\]])")


class UnreadableCallError(ValueError):
    """A text is no call."""


@dataclass(frozen=True, slots=True)
class _Named:
    """What a call says, without a number."""

    call_id: str
    name: str
    arguments: str


class CallReader:
    """Reads one answer's calls.

    Args:
        tools: What may be called, as OpenAI has it: their types decide how some models' arguments are read.
    """

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self._tools = tools
        self._names = {tool["function"]["name"] for tool in tools}
        self._count = 0

    def read(self, written: CallFormat, text: str) -> tuple[ToolCall, ...]:
        """The calls of a text between its marks, one at least, numbered on. Raises `UnreadableCallError`."""
        try:
            named = self._parsed(written, text)
        except UnreadableCallError:
            raise
        except Exception as error:  # parsers raise what they come across: keys, attributes, depths
            raise UnreadableCallError(type(error).__name__) from error
        calls = tuple(ToolCall(each.call_id, each.name, each.arguments, number) for number, each in enumerate(named, self._count))
        self._count += len(calls)
        return calls

    def _parsed(self, written: CallFormat, text: str) -> list[_Named]:
        keyed = _KEYED.search(text)
        if keyed is not None and not text.rstrip().endswith(f"</{keyed[1]}_value>"):
            raise UnreadableCallError("cut off within an argument")  # mlx-lm's parsers would leave that argument out
        found = written.parse(f"{written.start}{text}{written.end}" if written.keeps_marks else text, self._tools)
        calls = found if isinstance(found, list) else [found]
        if not calls:
            raise UnreadableCallError("nothing in it")
        return [self._checked(call) for call in calls]

    def _checked(self, call: object) -> _Named:
        if not isinstance(call, dict):
            raise UnreadableCallError("not an object")
        name, arguments = call.get("name"), call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        if not isinstance(name, str) or not name or not name.isprintable() or not isinstance(arguments, dict):
            raise UnreadableCallError("no name with arguments")
        if name not in self._names and (not arguments or arguments.keys() == {"raw"}):
            raise UnreadableCallError("some other text")  # mlx-lm's parser for GLM makes a call of any
        given = call.get("id")
        return _Named(
            given if isinstance(given, str) and given.isprintable() and given else new_call_id(), name, _json(arguments)
        )


def new_call_id() -> str:
    """An id that no other call of a conversation has."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))


def _json(arguments: Mapping[str, Any]) -> str:
    text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no text can have but as an escape
        return json.dumps(arguments, allow_nan=False)
    return text


class JsonEnd:
    """Finds where a text's first JSON object or list of objects ends, as the text comes; looks at each character once."""

    def __init__(self) -> None:
        self._at = 0
        self._depth = 0
        self._in_string = False

    def find(self, text: str) -> int | None:
        """Where it ends in the text, of which more comes with each call; None before that."""
        if not self._depth:
            begins = _JSON_BEGINS.search(text, self._at)
            if begins is None:
                opened = text.rfind("[", self._at)
                self._at = len(text) if opened < 0 or text[opened + 1 :].strip() else opened
                return None
            self._at, self._depth = begins.start() + 1, 1
        while self._at < len(text):
            character = text[self._at]
            if self._in_string:
                if character == "\\":
                    if self._at + 1 == len(text):
                        return None  # what it escapes has not come yet
                    self._at += 1
                elif character == '"':
                    self._in_string = False
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
            self._at += 1
            if not self._depth:
                return self._at
        return None
