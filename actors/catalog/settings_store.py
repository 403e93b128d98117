"""Keeps the settings: two JSON files that this process, others and people change. What they mean: `actors.settings`."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from actors.catalog.json_file import JsonFile, folder_lock
from actors.catalog.settings_contents import Contents, Section
from actors.control import SettingsView
from actors.errors import StaleRevisionError
from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, check_changes

_log = logging.getLogger(__name__)

_SECOND_LOOK_SECONDS = 0.05  # a file that looks broken may be one that an editor is just writing


class SettingsStore:
    """Global settings and those of each model. May be used from several threads.

    Edits by others are seen by `reread`, and by `change`; what this object's own `change` does is seen at once.

    Args:
        base: The folder of `settings.json` and `model_settings.json`; None keeps settings in memory alone.
        overrides: Global settings that the command line or the environment decides. `global_values` has them on top of
            the file's; `view` and `change` are about the file.
    """

    def __init__(self, base: Path | None, overrides: Mapping[str, Any] | None = None) -> None:
        self._lock_file = base / "settings.lock" if base else None
        self._everything = JsonFile(base / "settings.json") if base else None
        self._models = JsonFile(base / "model_settings.json", ("models",)) if base else None
        self._overrides = {name: value for name, value in (overrides or {}).items() if value is not None}
        self._mutex = threading.Lock()
        self._trouble = ""
        self._news = False  # whether `change` has met changes of others, which `reread` is to tell
        self._contents = Contents()
        self._sections: Mapping[str | None, Section] = {None: Section()}
        self.reread()

    def reread(self) -> bool:
        """Take over what others have changed; whether there was something. Costs two `stat` where the files are the same."""
        if self._everything is None or self._models is None:
            return False
        with self._mutex:
            news, self._news = self._news, False
            if not (self._everything.changed() or self._models.changed()):
                return news
            try:
                contents = Contents(self._read(self._everything), self._read(self._models))
            except OSError as error:
                if str(error) != self._trouble:
                    _log.error("the settings can't be read, so those read before stay: %s", error)
                self._trouble = str(error)
                return news
            self._trouble = ""
            return self._adopt(contents) or news

    def view(self, model_id: str | None) -> SettingsView:
        """What is set for a model, or for all (None), in the files.

        Its revision is a hash of everything that the file has there, unknown keys too: it is the same after a restart, and
        another one after an edit.
        """
        section = self._sections.get(model_id, Section())
        return SettingsView(deepcopy(dict(section.values)), section.revision)

    def model(self, model_id: str) -> Mapping[str, Any]:
        """What is set for a model: known names and valid values; no defaults."""
        return self.view(model_id).values

    def global_values(self) -> Mapping[str, Any]:
        """What is set for all, overrides on top: known names and valid values; no defaults."""
        return {**self.view(None).values, **self._overrides}

    def aliases(self) -> Mapping[str, str]:
        """The alias of each model that has one set, by id; models that are gone from the disk too."""
        sections = self._sections.items()
        return {key: each.values["model_alias"] for key, each in sections if key is not None and "model_alias" in each.values}

    def change(self, model_id: str | None, changes: Mapping[str, Any], revision: str | None) -> SettingsView:
        """Set and reset (None) settings of a model, or global ones (None); what is set then.

        Of several models that are told to be the default one, the last is.

        Args:
            model_id: The model, by id.
            changes: Values by name.
            revision: That of the settings as they were read; None takes whatever they are.

        Raises `InvalidSettingError`, `StaleRevisionError`, or `OSError` when it can't be written; then nothing has changed.
        """
        checked = deepcopy(check_changes(GLOBAL_SETTINGS if model_id is None else MODEL_SETTINGS, changes))
        with self._mutex, self._locked():
            self._news |= self._adopt(self._latest())
            present = self._sections.get(model_id, Section()).revision
            if revision is not None and revision != present:
                raise StaleRevisionError(revision, present)
            only = model_id is not None and checked.get("is_default") is True
            contents = (self._contents.without_default() if only else self._contents).merged(model_id, checked)
            if contents.text != self._contents.text:
                self._write(contents, model_id)
                self._adopt(contents)
        return self.view(model_id)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock_file is None:
            yield
        else:
            with folder_lock(self._lock_file):
                yield

    def _latest(self) -> Contents:
        if self._everything is None or self._models is None:
            return self._contents
        return Contents(_read_or_set_aside(self._everything), _read_or_set_aside(self._models))

    def _read(self, file: JsonFile) -> dict[str, Any]:
        try:
            return file.read()
        except ValueError:
            with self._locked():
                return _read_or_set_aside(file)

    def _write(self, contents: Contents, model_id: str | None) -> None:
        if self._everything is None or self._models is None:
            return
        if model_id is None:
            self._everything.write(contents.everything)
        else:
            self._models.write(contents.models)

    def _adopt(self, contents: Contents) -> bool:
        """Let these contents be the ones that count; whether they are others than before."""
        before = self._sections
        self._contents, self._sections = contents, contents.sections(before)
        return before != self._sections


def _read_or_set_aside(file: JsonFile) -> dict[str, Any]:
    """A file's object, or an empty one after giving a broken file another name. For the holder of the lock."""
    try:
        return file.read()
    except ValueError:
        time.sleep(_SECOND_LOOK_SECONDS)
    try:
        return file.read()
    except ValueError as error:
        aside = file.set_aside()
        _log.error("%s IS BROKEN (%s): it is kept as %s, and its settings are the defaults now", file.path, error, aside.name)
        return file.read()
