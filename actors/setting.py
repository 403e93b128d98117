"""What one setting is: the values that it takes, from JSON or from a command line. Which ones there are: `actors.settings`."""

import json
import math
import re
import reprlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import orjson

from actors.errors import InvalidSettingError


class Effect(StrEnum):
    """When a change of a setting is felt."""

    REQUEST = "next request"
    ENGINE = "running engine"
    RELOAD = "reload"
    RESTART = "restart"


class Form(StrEnum):
    """What values a setting takes."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    NAME = "name"
    TEXTS = "texts"
    OBJECT = "object"
    CHOICE = "choice"
    MEMORY = "memory"
    URL = "url"


_NAME_LENGTH = 128
_TAKES = {
    Form.INTEGER: "an integer",
    Form.NUMBER: "a number",
    Form.BOOLEAN: "true or false",
    Form.TEXT: "a text",
    Form.NAME: f"a name of up to {_NAME_LENGTH} characters, without spaces, '..', a dot in front or a slash at an end",
    Form.TEXTS: "a text or a list of texts",
    Form.OBJECT: "an object",
    Form.MEMORY: "a number of bytes, or a text such as 12GB, 512MiB or 60%",
    Form.URL: "a URL that begins with http:// or https://, without a user or a query",
}
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NOTHING = ("null", "none")

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_LIST = re.compile(r"\s*\[\s*[\"\]]")  # not every text that begins with a bracket: `[INST]` is a likely stop text
_MEMORY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(%|[kmgt]?b|[kmgt]ib)", re.IGNORECASE)
_UNITS: dict[str, int] = {
    unit: base**power
    for base, units in ((1000, ("b", "kb", "mb", "gb", "tb")), (1024, ("b", "kib", "mib", "gib", "tib")))
    for power, unit in enumerate(units)
}
_MOST_BYTES = (1 << 63) - 1


def memory_bytes(value: int | str, total: int) -> int:
    """What a setting of memory comes to, in bytes.

    Args:
        value: Bytes, or a text: a number and a unit (`KB` to `TB` by thousands, `KiB` to `TiB` by 1024, `B`) or `%`.
        total: What 100 % is, in bytes.

    Raises `ValueError` for anything else.
    """
    if type(value) is int and 0 < value <= _MOST_BYTES:
        return value
    match = _MEMORY.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        number, unit = float(match[1]), match[2].lower()
        if unit == "%" and 0 < number <= 100:
            return int(total * number / 100)
        if unit != "%" and 1 <= number * _UNITS[unit] <= _MOST_BYTES:
            return round(number * _UNITS[unit])
    raise ValueError(f"not an amount of memory: {reprlib.repr(value)}")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: As in the files and in the API.
        form: What it takes. `memory` is bytes, as a number or as text like `12GB` or `60%`; see `memory_bytes`.
        help: One sentence.
        effect: When a change is felt.
        default: What holds where nothing is set; None leaves it to the next source in order, or to the machine.
        least, most: Bounds of a number, inclusive; of texts, how many there may be.
        above: A lower bound that is not included.
        choices: Of a choice.
    """

    name: str
    form: Form
    help: str
    effect: Effect
    default: Any = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """Its values in words, such as `a number from 0 to 2`."""
        if self.form is Form.CHOICE:
            return f"one of {', '.join(self.choices)}"
        words = _TAKES[self.form]
        if self.form is Form.TEXTS:
            return words if self.most is None else f"{words}, at most {self.most}"
        if self.most is None:
            return words
        return f"{words} {f'from {self.least}' if self.above is None else f'above {self.above} and up'} to {self.most}"

    def check(self, value: Any) -> Any:
        """A value as it is to be kept; None (nothing set) is always taken. Raises `InvalidSettingError`."""
        if value is None:
            return None
        if self.form is Form.TEXTS and isinstance(value, str):
            value = [value]
        if not self._fits(value):
            raise self._refusal(value)
        return value

    def parse(self, text: str) -> Any:
        """The checked value that a text on a command line or in the environment stands for; `null` and `none` set nothing.

        Raises `InvalidSettingError`.
        """
        return None if text.strip().lower() in _NOTHING else self.check(self._read(text))

    def _refusal(self, value: Any) -> InvalidSettingError:
        return InvalidSettingError(self.name, f"'{self.name}' takes {self.takes}, not {reprlib.repr(value)}.")

    def _fits(self, value: Any) -> bool:
        match self.form:
            case Form.BOOLEAN:
                return isinstance(value, bool)
            case Form.INTEGER:
                return type(value) is int and self._within(value)
            case Form.NUMBER:
                return type(value) in (int, float) and self._within(value)
            case Form.TEXT:
                return _is_text(value) and bool(value.strip())
            case Form.NAME:
                return _is_text(value) and _is_name(value)
            case Form.TEXTS:
                return isinstance(value, list) and all(map(_is_text, value)) and self._within(len(value))
            case Form.OBJECT:
                return isinstance(value, dict) and _is_json(value)
            case Form.CHOICE:
                return isinstance(value, str) and value in self.choices
            case Form.MEMORY:
                return _is_memory(value)
            case Form.URL:
                return _is_text(value) and _is_url(value)

    def _within(self, number: float) -> bool:
        return (
            (isinstance(number, int) or math.isfinite(number))
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
        )

    def _read(self, text: str) -> Any:
        """What a text stands for; where it stands for nothing, the text, for `check` to refuse. Raises as `parse` does."""
        word = text.strip()
        match self.form:
            case Form.BOOLEAN:
                return _TRUTH.get(word.lower(), word)
            case Form.INTEGER | Form.MEMORY:
                return int(word) if _INTEGER.fullmatch(word) else word
            case Form.NUMBER:
                return int(word) if _INTEGER.fullmatch(word) else _float(word)
            case Form.OBJECT:
                return self._json(text)
            case Form.TEXTS:
                return self._json(text) if _LIST.match(text) else text
            case Form.TEXT:
                return text
            case Form.NAME | Form.CHOICE | Form.URL:
                return word

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self._refusal(text) from None


def _is_text(value: Any) -> bool:
    # A lone surrogate is no text: it couldn't be sent to anybody.
    return isinstance(value, str) and value != "" and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_name(text: str) -> bool:
    return (
        len(text) <= _NAME_LENGTH
        and text.isprintable()
        and not any(character.isspace() for character in text)
        and not text.startswith((".", "/"))
        and not text.endswith("/")
        and ".." not in text
    )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and text.isprintable()
        and not any(character.isspace() or character in "@?#" for character in text)
    )


def _is_memory(value: Any) -> bool:
    try:
        memory_bytes(value, 0)
    except ValueError:
        return False
    return True


def _is_json(value: Any) -> bool:
    """Whether a value comes back the same from JSON, as the wire has it: string keys, 64-bit integers, no NaN."""
    try:
        return bool(orjson.loads(orjson.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def _float(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word
