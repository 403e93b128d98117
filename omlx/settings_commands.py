"""`omlx settings`: shows and changes what is kept under the base path. A running server notices by itself."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from omlx import options

if TYPE_CHECKING:
    from actors.control import RoutingTable, Served
    from actors.settings import Setting

_Steps = list[tuple[str, Mapping[str, Any]]]
_WIDEST = 60  # characters of a value in a table
_EFFECTS = {
    "next request": "takes effect within a second, for requests that come then",
    "running engine": "takes effect within a second",
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
    from actors.errors import InvalidSettingError
    from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, find_setting

    kept = _Kept(context)
    match words:
        case ():
            _show(GLOBAL_SETTINGS, kept.steps(None))
        case (word,) if word not in GLOBAL_SETTINGS and (model := kept.find(word)) is not None:
            _show(MODEL_SETTINGS, kept.steps(model))
        case (key,):
            try:
                setting = find_setting(GLOBAL_SETTINGS, key)
            except InvalidSettingError as error:
                raise click.ClickException(f"{error} Nor is there a model of this name. {kept.names()}") from error
            click.echo(_text(_value(setting, kept.steps(None))[0]))
        case (name, key):
            model = kept.expect(name)
            click.echo(_text(_value(find_setting(MODEL_SETTINGS, key), kept.steps(model))[0]))
        case _:
            raise click.UsageError("Give a model, a setting, or both.")


@settings.command(name="set", context_settings={"ignore_unknown_options": True})  # -1 is a value
@click.argument("words", nargs=-1, metavar="[MODEL] KEY VALUE")
@options.model_roots
@click.pass_context
def set_(context: click.Context, /, words: tuple[str, ...], **_options: Any) -> None:
    """Change a setting of a model or, without MODEL, a global one. The VALUE `null` resets it."""
    from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, find_setting

    kept = _Kept(context)
    match words:
        case (key, text):
            model, setting = None, find_setting(GLOBAL_SETTINGS, key)
        case (name, key, text):
            model, setting = kept.expect(name), find_setting(MODEL_SETTINGS, key)
        case _:
            raise click.UsageError("Give a setting and its value; for a model's setting, the model before them.")
    value = setting.parse(text)
    kept.change(model, key, value)
    whose = f" of {model.model_id}" if model is not None else ""
    became = "is reset" if value is None else f"is {_text(value)}"
    click.echo(f"{key}{whose} {became}; this {_EFFECTS[setting.effect]}.")


class _Kept:
    """What is set, and the models that it can be set for; these are looked for when a word may name one."""

    def __init__(self, context: click.Context) -> None:
        self._context = context
        self._store = options.settings_store(context)

    @cached_property
    def _models(self) -> "RoutingTable":
        from actors.control import RoutingTable

        return RoutingTable(0, served=options.served_models(self._context))

    def find(self, name: str) -> "Served | None":
        """The model of an id or an alias."""
        return self._models.find(name) if name else None

    def expect(self, name: str) -> "Served":
        """The same. Raises `ModelNotFoundError`."""
        from actors.errors import ModelNotFoundError

        model = self.find(name)
        if model is None:
            raise ModelNotFoundError(name, list(self._models.served))
        return model

    def names(self) -> str:
        """Which models there are, in a sentence."""
        return f"Models here: {', '.join(self._models.served) or 'none'}."

    def steps(self, model: "Served | None") -> _Steps:
        """Where the settings of a model, or the global ones, come from: the first step that has a value is it."""
        from actors.catalog.serving import served

        everywhere = ("settings.json", self._store.global_values())
        if model is None:
            return [everywhere]
        own = ("model_settings.json", self._store.model(model.model_id))
        return [own, everywhere, ("generation_config.json", served(model.model, {}, {}).defaults)]

    def change(self, model: "Served | None", key: str, value: Any) -> None:
        """Keep another value. Raises `InvalidSettingError`."""
        from actors.catalog.serving import check_alias

        model_id = model.model_id if model is not None else None
        if model_id is not None and key == "model_alias" and value is not None:
            check_alias(value, model_id, self._models.served, self._store.aliases())
        try:
            self._store.change(model_id, {key: value}, None)
        except OSError as error:
            raise click.ClickException(f"The settings can't be written: {error}") from error


def _value(setting: "Setting", steps: _Steps) -> tuple[Any, str]:
    """What holds for a setting, and where it is from."""
    from actors.settings import GLOBAL_SETTINGS

    everybodys = GLOBAL_SETTINGS.get(setting.name, setting)
    default = everybodys.default if setting.default is None else setting.default
    return next(((values[setting.name], source) for source, values in steps if setting.name in values), (default, "default"))


def _show(table: Mapping[str, "Setting"], steps: _Steps) -> None:
    from omlx.listing import align

    rows = [("SETTING", "VALUE", "FROM")]
    for name, setting in table.items():
        value, source = _value(setting, steps)
        rows.append((name, _shortened(value), source))
    for line in align(rows):
        click.echo(line)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shortened(value: Any) -> str:
    line = " ".join(_text(value).split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
