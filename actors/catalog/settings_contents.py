"""What the two settings files say, and what of it counts. Values: who reads and writes them is `actors.catalog.settings_store`."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from actors.errors import InvalidSettingError
from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, find_setting

_log = logging.getLogger(__name__)

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Section:
    """The settings of one model, or the global ones.

    Attributes:
        text: Everything that stands there, in one form. Compared instead of values, since Python holds 1 and True for equal.
        values: Those that count: known, valid and set.
    """

    text: str = "{}"
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def revision(self) -> str:
        """A hash of everything that stands there."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Contents:
    """Both files as they stand, whatever is in them.

    Attributes:
        everything: `settings.json`.
        models: `model_settings.json`. Its `models` is an object, if it is there.
    """

    everything: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All settings in one form, to be compared."""
        return _canonical([self._found(key) for key in (None, *sorted(self._by_id))] + sorted(self._by_id))

    def sections(self, before: Mapping[str | None, Section]) -> dict[str | None, Section]:
        """The settings of each model by id, and the global ones (None). What counts for nothing is warned of.

        Args:
            before: The sections of an earlier look: what is the same there isn't checked again, nor warned of again.
        """
        found: dict[str | None, Section] = {}
        for key in (None, *self._by_id):
            text, known = _canonical(self._found(key)), before.get(key)
            found[key] = known if known is not None and known.text == text else Section(text, _valid(key, self._found(key)))
        return found

    def merged(self, key: str | None, changes: Mapping[str, Any]) -> "Contents":
        """The same with changes to a model's settings or the global ones; None resets."""
        both = {**self._section(key), **changes}
        section = {name: value for name, value in both.items() if name not in changes or value is not None}
        if key is None:
            return replace(self, everything={"version": self.everything.get("version", _VERSION), **section})
        models = {**self._by_id, key: section}
        if not section:
            del models[key]
        return replace(self, models={"version": _VERSION, **self.models, "models": models})

    def without_default(self) -> "Contents":
        """The same with no model the default one."""
        contents = self
        for key in self._by_id:
            if self._section(key).get("is_default") is True:
                contents = contents.merged(key, {"is_default": None})
        return contents

    @property
    def _by_id(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.models.get("models", {})
        return found

    def _found(self, key: str | None) -> Any:
        if key is not None:
            return self._by_id.get(key, {})
        return {name: value for name, value in self.everything.items() if name != "version"}

    def _section(self, key: str | None) -> Mapping[str, Any]:
        found = self._found(key)
        return found if isinstance(found, dict) else {}


def _canonical(found: Any) -> str:
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def _valid(key: str | None, found: Any) -> dict[str, Any]:
    """What counts of a section; a warning says what doesn't."""
    table = GLOBAL_SETTINGS if key is None else MODEL_SETTINGS
    where = "settings.json" if key is None else f"model_settings.json, '{key}'"
    values: dict[str, Any] = {}
    if not isinstance(found, dict):
        _log.warning("%s: the settings are no object. They are ignored.", where)
        return values
    for name, value in found.items():
        try:
            checked = find_setting(table, name).check(value)
        except InvalidSettingError as error:
            _log.warning("%s: %s It is ignored, and stays in the file.", where, error)
        else:
            if checked is not None:
                values[name] = checked
    return values
