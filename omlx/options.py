"""The options that several commands take, and which of them the command line or the environment decides.

Of `actors`, nothing is imported before a command runs: `omlx` says first when that package is somebody else's.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from omlx.folders import base_folder, hf_cache_folder

if TYPE_CHECKING:
    from actors.catalog.settings_store import SettingsStore
    from actors.control import Served
    from actors.settings import Setting
    from omlx.settings import ServeSettings

_FOLDER = click.Path(file_okay=False, path_type=Path)
_DECIDED = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
_Command = TypeVar("_Command", bound=Callable[..., Any])

# Global settings that are options by their own names.
SETTINGS = (
    "host",
    "port",
    "max_process_memory",
    "max_concurrent_requests",
    "max_queued_requests",
    "max_decode_stall_ms",
    "max_context_window",
    "kv_cache_max_bytes",
    "ttl_seconds",
    "load_timeout_seconds",
    "allow_image_urls",
    "max_images_per_request",
    "max_image_bytes",
    "max_image_pixels",
    "log_level",
    "log_format",
    "ray_address",
    "otlp_endpoint",
    "hf_endpoint",
    "ms_endpoint",
    "downloads_at_once",
    "max_download_speed",
    "max_download_speed_while_answering",
)
# Variables of others that mean the same; ours count more.
_ALSO = {"hf_endpoint": ("HF_ENDPOINT",), "ms_endpoint": ("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN")}
_HOSTS = _ALSO["ms_endpoint"]  # in which a host alone means https


class _Folders(click.ParamType[tuple[Path, ...]]):
    """Folders, with commas between them; in a variable, also with what separates folders in PATH."""

    name = "directory"
    envvar_list_splitter = os.pathsep

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Path, ...]:
        folders = [part.strip() for part in str(value).split(",")]
        return tuple(_FOLDER.convert(folder, param, ctx).expanduser().absolute() for folder in folders if folder)


class _SettingType(click.ParamType[Any]):
    """A global setting's value, as the table of settings reads it."""

    name = "text"

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def setting(self) -> "Setting":
        """Its row in the table."""
        from actors.settings import GLOBAL_SETTINGS

        return GLOBAL_SETTINGS[self._setting]

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        del param, ctx
        setting = self.setting()
        return f"[{'|'.join(setting.choices)}]" if setting.choices else setting.form.upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from actors.errors import InvalidSettingError

        try:
            return self.setting().parse(str(value))
        except InvalidSettingError as error:
            self.fail(str(error), param, ctx)


class _SettingOption(click.Option):
    """An option for a global setting; its help is the setting's."""

    type: _SettingType

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        del ctx
        for variable in self.envvar or ():
            if value := os.environ.get(variable):
                return f"https://{value}" if variable in _HOSTS and "://" not in value else value
        return None

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        setting = self.type.setting()
        self.help = setting.help if setting.default is None else f"{setting.help}  [default: {setting.default}]"
        return super().get_help_record(ctx)


def setting_option(name: str) -> Callable[[_Command], _Command]:
    """The option for one of `SETTINGS`."""
    flag = f"--{name.replace('_', '-')}"
    variables = [f"OMLX_{name.upper()}", *_ALSO.get(name, ())]
    return click.option(flag, cls=_SettingOption, type=_SettingType(name), envvar=variables, show_envvar=True)


def setting_options(command: _Command) -> _Command:
    """An option for each of `SETTINGS`."""
    for name in reversed(SETTINGS):
        command = setting_option(name)(command)
    return command


base_path = click.option(
    "--base-path",
    type=_FOLDER,
    envvar="OMLX_BASE_PATH",
    help="Folder for models, settings and logs.  [default: ~/.omlx]",
    show_envvar=True,
)
model_dir = click.option(
    "--model-dir",
    "model_dirs",
    type=_Folders(),
    multiple=True,
    envvar="OMLX_MODEL_DIR",
    help="Folder that holds model folders; give it several times, or several with commas between them."
    "  [default: <base path>/models]",
    show_envvar=True,
)
no_hf_cache = click.option(
    "--no-hf-cache",
    is_flag=True,
    envvar="OMLX_NO_HF_CACHE",
    help="Leave out the models in the Hugging Face cache.",
    show_envvar=True,
)


def model_roots(command: _Command) -> _Command:
    """The options that say where models are."""
    return model_dir(no_hf_cache(base_path(command)))


def given(context: click.Context) -> dict[str, Any]:
    """The global settings that the command line or the environment decides, by name; `null` there decides nothing."""
    decided = {name: value for name, value in context.params.items() if context.get_parameter_source(name) in _DECIDED}
    settings = {name: decided[name] for name in SETTINGS if decided.get(name) is not None}
    if any(decided.get("model_dirs", ())):
        settings["model_dirs"] = [str(folder) for folders in decided["model_dirs"] for folder in folders]
    if "no_hf_cache" in decided:
        settings["hf_cache"] = not decided["no_hf_cache"]
    return settings


def settings_store(context: click.Context) -> "SettingsStore":
    """What is kept under the base path."""
    from actors.catalog.settings_store import SettingsStore

    return SettingsStore(base_folder(context.params["base_path"]))


def process_settings(context: click.Context, store: "SettingsStore") -> "ServeSettings":
    """What a command works with, from its options, the environment, and what is kept."""
    from omlx.settings import decide

    return decide(base_folder(context.params["base_path"]), given(context), store.global_values(), hf_cache_folder())


def served_models(context: click.Context) -> Mapping[str, "Served"]:
    """Every model on disk where the options look, by id, with its settings."""
    from actors.catalog.discovery import Discovery
    from actors.catalog.serving import serve_all

    store = settings_store(context)
    asked = process_settings(context, store)
    return serve_all(Discovery(asked.model_dirs, asked.hf_cache).scan(), store)
