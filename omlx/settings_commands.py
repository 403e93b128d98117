"""`omlx settings`: shows and changes what is kept under the base path. A running server notices by itself."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from omlx import options

if TYPE_CHECKING:
    from actors.models import ModelInfo
    from actors.settings import Setting

_WIDEST = 60  # characters of a value in a table
_EFFECTS = {
    "next request": "takes effect with the next request",
    "running engine": "takes effect at once",
    "reload": "takes effect when the model is loaded again",
    "restart": "takes effect when the server is started again",
}


@click.group()
def settings() -> None:
    """Show or change what the server and its models are set to. A running server notices by itself."""


@settings.command(name="get")
@click.argument("words", nargs=-1, metavar="[MODEL] [KEY]")
@options.model_roots
@click.pass_context
def get(context: click.Context, /, words: tuple[str, ...], **_options: Any) -> None:
    """Show settings: all global ones, a model's, or one of either.

    A single word is a global setting if there is one of this name, else a model.
    """
    kept = _Kept(context)
    match words:
        case ():
            _show_all(kept.sources(None))
        case (word,) if word in _known(None):
            click.echo(_text(kept.sources(None)[word][0]))
        case (word,) if (model := kept.find(word)) is not None:
            _show_all(kept.sources(model))
        case (word,):
            raise click.ClickException(f"'{word}' is no global setting{_nearest(word, None)} and no model. {kept.names()}")
        case (name, key):
            model = kept.expect(name)
            _expect_key(key, model)
            click.echo(_text(kept.sources(model)[key][0]))
        case _:
            raise click.UsageError("Give a model, a setting, or both.")


@settings.command(name="set", context_settings={"ignore_unknown_options": True})  # -1 is a value
@click.argument("words", nargs=-1, metavar="[MODEL] KEY VALUE")
@options.model_roots
@click.pass_context
def set_(context: click.Context, /, words: tuple[str, ...], **_options: Any) -> None:
    """Change a setting of a model or, without MODEL, a global one. The VALUE `null` resets it."""
    kept = _Kept(context)
    match words:
        case (key, text):
            model = None
        case (name, key, text):
            model = kept.expect(name)
        case _:
            raise click.UsageError("Give a setting and its value; for a model's setting, the model before them.")
    setting = _expect_key(key, model)
    value = setting.parse(text)
    kept.change(model, key, value)
    whose = f" of {model.model_id}" if model is not None else ""
    became = "is reset" if value is None else f"is {_text(value)}"
    click.echo(f"{key}{whose} {became}; this {_EFFECTS[setting.effect]}.")


class _Kept:
    """What is set, and the models that it can be set for."""

    def __init__(self, context: click.Context) -> None:
        from actors.catalog.discovery import Discovery
        from actors.catalog.settings_store import SettingsStore

        asked = options.process_settings(context)
        self._store = SettingsStore(asked.base_path)
        self._models = Discovery(asked.model_dirs, asked.hf_cache).scan().models

    def find(self, name: str) -> "ModelInfo | None":
        """The model of an id or an alias."""
        if name in self._models:
            return self._models[name]
        return next((m for m in self._models.values() if self._store.model(m.model_id).get("model_alias") == name), None)

    def expect(self, name: str) -> "ModelInfo":
        """The same. Raises `ModelNotFoundError`."""
        from actors.errors import ModelNotFoundError

        model = self.find(name)
        if model is None:
            raise ModelNotFoundError(name, list(self._models))
        return model

    def names(self) -> str:
        """Which models there are, in a sentence."""
        return f"Models here: {', '.join(self._models) or 'none'}."

    def sources(self, model: "ModelInfo | None") -> dict[str, tuple[Any, str]]:
        """Each setting's value, and where it is from."""
        everywhere = self._store.global_values()
        steps: list[tuple[str, Mapping[str, Any]]] = [("settings.json", everywhere)]
        if model is not None:
            steps = [
                ("the model's settings", self._store.model(model.model_id)),
                *steps,
                ("generation_config.json", model.generation),
            ]
        return {name: _first(setting, steps) for name, setting in _known(model).items()}

    def change(self, model: "ModelInfo | None", key: str, value: Any) -> None:
        """Keep another value. Raises `InvalidSettingError`."""
        self._store.change(None if model is None else model.model_id, {key: value}, None)


def _known(model: "ModelInfo | None") -> "Mapping[str, Setting]":
    from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS

    return GLOBAL_SETTINGS if model is None else MODEL_SETTINGS


def _expect_key(key: str, model: "ModelInfo | None") -> "Setting":
    from actors.settings import MODEL_SETTINGS

    known = _known(model)
    if key in known:
        return known[key]
    if model is None and key in MODEL_SETTINGS:
        raise click.ClickException(f"'{key}' is set for each model: omlx settings set MODEL {key} VALUE")
    raise click.ClickException(
        f"There is no setting '{key}'{_nearest(key, model)}. `omlx settings get` shows those that there are."
    )


def _nearest(key: str, model: "ModelInfo | None") -> str:
    near = get_close_matches(key, _known(model), 1)
    return f" (is it '{near[0]}'?)" if near else ""


def _first(setting: "Setting", steps: list[tuple[str, Mapping[str, Any]]]) -> tuple[Any, str]:
    for source, values in steps:
        if values.get(setting.name) is not None:
            return values[setting.name], source
    elsewhere = options.SETTINGS.get(setting.name) if setting.default is None else None
    return setting.default, f"default: {elsewhere}" if elsewhere else "default"


def _show_all(sources: Mapping[str, tuple[Any, str]]) -> None:
    from omlx.listing import align

    rows = [(name, _shortened(value), source) for name, (value, source) in sources.items()]
    for line in align([("SETTING", "VALUE", "FROM"), *rows]):
        click.echo(line)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shortened(value: Any) -> str:
    line = " ".join(_text(value).split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
