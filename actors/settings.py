"""The settings there are: name, form, default, help, and when a change takes effect. Who keeps them: `actors.catalog.settings_store`."""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actors.errors import InvalidSettingError
from actors.models import ModelType
from actors.setting import Effect, Form, Setting, memory_bytes

__all__ = [
    "GLOBAL_SETTINGS", "MODEL_SETTINGS", "SAMPLING", "Effect", "Form", "Setting", "check_changes", "find_setting", "memory_bytes",
]  # fmt: skip

_MOST = (1 << 31) - 1
_YEAR = 31_536_000

# What a request may say for itself, and a model or everything may have a default for. Their bounds are the request's.
SAMPLING: tuple[Setting, ...] = (
    Setting("max_tokens", Form.INTEGER, "The most tokens of an answer.", Effect.REQUEST, least=1, most=_MOST),
    Setting("temperature", Form.NUMBER, "How freely tokens are drawn; 0 takes the likeliest.", Effect.REQUEST, least=0, most=2),
    Setting(
        "top_p",
        Form.NUMBER,
        "Draw from the likeliest tokens that have this probability together.",
        Effect.REQUEST,
        above=0,
        most=1,
    ),
    Setting(
        "top_k",
        Form.INTEGER,
        "Draw from so many of the likeliest tokens; 0 and -1 for all.",
        Effect.REQUEST,
        least=-1,
        most=_MOST,
    ),
    Setting(
        "min_p", Form.NUMBER, "Leave out tokens less likely than this share of the likeliest.", Effect.REQUEST, least=0, most=1
    ),
    Setting(
        "repetition_penalty",
        Form.NUMBER,
        "Above 1, tokens of the prompt and the answer become less likely.",
        Effect.REQUEST,
        above=0,
        most=100,
    ),
    Setting(
        "presence_penalty",
        Form.NUMBER,
        "Taken from the logit of each token in the answer, once.",
        Effect.REQUEST,
        least=-2,
        most=2,
    ),
    Setting(
        "frequency_penalty",
        Form.NUMBER,
        "Taken from the logit of each token in the answer, as often as it is there.",
        Effect.REQUEST,
        least=-2,
        most=2,
    ),
    Setting("seed", Form.INTEGER, "Makes answers repeatable.", Effect.REQUEST, least=-(1 << 63), most=(1 << 64) - 1),
    Setting("stop", Form.TEXTS, "Texts that end an answer.", Effect.REQUEST, most=16),
)

_CONCURRENT = Setting(
    "max_concurrent_requests",
    Form.INTEGER,
    "Requests that a model answers at once; more of them wait.",
    Effect.ENGINE,
    least=1,
    most=_MOST,
)
_TTL = Setting(
    "ttl_seconds",
    Form.NUMBER,
    "Seconds without a request after which a model is unloaded; 0 for never.",
    Effect.ENGINE,
    least=0,
    most=_YEAR,
)
_KV_CACHE = Setting(
    "kv_cache_max_bytes",
    Form.MEMORY,
    "Memory for a model's KV cache; where it isn't set, as much as there is room for.",
    Effect.RELOAD,
)
_CONTEXT = Setting(
    "max_context_window",
    Form.INTEGER,
    "The most tokens of prompt and answer together, if that is less than the model's own.",
    Effect.REQUEST,
    least=2,
    most=_MOST,
)


def _table(*settings: Setting) -> Mapping[str, Setting]:
    return {setting.name: setting for setting in settings}


MODEL_SETTINGS: Mapping[str, Setting] = _table(
    Setting("model_alias", Form.NAME, "The name that clients see and use; the folder's name is taken too.", Effect.REQUEST),
    Setting(
        "model_type_override",
        Form.CHOICE,
        "What the model is for, instead of what its files say.",
        Effect.RELOAD,
        choices=tuple(each.value for each in ModelType),
    ),
    *SAMPLING,
    Setting("force_sampling", Form.BOOLEAN, "Whether these sampling settings win over the request's.", Effect.REQUEST, False),
    _CONCURRENT,
    _KV_CACHE,
    _CONTEXT,
    _TTL,
    Setting("chat_template", Form.TEXT, "A chat template (Jinja) instead of the model's own.", Effect.REQUEST),
    Setting("chat_template_kwargs", Form.OBJECT, "Variables for the chat template, such as enable_thinking.", Effect.REQUEST),
    Setting(
        "clean_ocr",
        Form.BOOLEAN,
        "Whether an OCR model's marks of layout are left out of its answers, where a request doesn't say.",
        Effect.REQUEST,
        False,
    ),
    Setting("is_pinned", Form.BOOLEAN, "Whether it is loaded at start, and never unloaded to make room.", Effect.ENGINE, False),
    Setting("is_default", Form.BOOLEAN, "Whether it answers requests that name no model; one model can.", Effect.REQUEST, False),
    Setting("is_hidden", Form.BOOLEAN, "Whether it is left out of /v1/models; it can still be asked.", Effect.REQUEST, False),
    Setting("replicas", Form.INTEGER, "How many engines serve it.", Effect.ENGINE, 1, least=1, most=64),
    Setting(
        "trust_remote_code",
        Form.BOOLEAN,
        "Whether Python files of the model's folder may be run, which can do anything that you can.",
        Effect.RELOAD,
        False,
    ),
)

GLOBAL_SETTINGS: Mapping[str, Setting] = _table(
    Setting("model_dirs", Form.TEXTS, "Folders that hold models; where none is set, `models` in the base path.", Effect.RESTART),
    Setting("hf_cache", Form.BOOLEAN, "Whether models in the Hugging Face cache are served too.", Effect.RESTART, True),
    Setting("host", Form.TEXT, "Address to listen on.", Effect.RESTART, "127.0.0.1"),
    Setting("port", Form.INTEGER, "Port to listen on; 0 takes a free one.", Effect.RESTART, 8000, least=0, most=65535),
    Setting(
        "log_level",
        Form.CHOICE,
        "The least severe lines to log.",
        Effect.RESTART,
        "info",
        choices=("debug", "info", "warning", "error"),
    ),
    Setting(
        "log_format",
        Form.CHOICE,
        "How log lines are written: for people, or a JSON object each.",
        Effect.RESTART,
        "text",
        choices=("text", "json"),
    ),
    Setting("ray_address", Form.TEXT, "A running Ray cluster to join, instead of a private runtime.", Effect.RESTART),
    Setting("otlp_endpoint", Form.URL, "An OpenTelemetry collector to send metrics and traces to, over HTTP.", Effect.RESTART),
    Setting(
        "hf_endpoint",
        Form.URL,
        "The Hugging Face Hub, or a mirror of it, that models come from; where it isn't set, https://huggingface.co.",
        Effect.RESTART,
    ),
    Setting(
        "ms_endpoint",
        Form.URL,
        "ModelScope, or a mirror of it, that models come from; where it isn't set, https://modelscope.cn.",
        Effect.RESTART,
    ),
    Setting(
        "downloads_at_once",
        Form.INTEGER,
        "Models that the server fetches at a time; others wait for their turn.",
        Effect.REQUEST,
        2,
        least=1,
        most=16,
    ),
    Setting(
        "max_download_speed",
        Form.INTEGER,
        "Bytes a second that all downloads of the server may take together; where it isn't set, as many as come.",
        Effect.REQUEST,
        least=1_000,
        most=1 << 40,
    ),
    Setting(
        "max_download_speed_while_answering",
        Form.INTEGER,
        "The same while a model answers, which more would slow down; 0 for no such limit.",
        Effect.REQUEST,
        50_000_000,
        least=0,
        most=1 << 40,
    ),
    Setting(
        "max_process_memory",
        Form.MEMORY,
        "Memory for all models together; where it isn't set, a safe share of the machine's; in a cluster, Ray says what each node has instead.",
        Effect.ENGINE,
    ),
    Setting(
        "load_timeout_seconds", Form.NUMBER, "Seconds after which a load is given up.", Effect.ENGINE, 600, least=1, most=86400
    ),
    Setting(
        "max_queued_requests",
        Form.INTEGER,
        "Requests that may wait for a model; more are told when to come back.",
        Effect.ENGINE,
        256,
        least=0,
        most=_MOST,
    ),
    Setting(
        "max_decode_stall_ms",
        Form.INTEGER,
        "Milliseconds that a step may take while answers stream; where it isn't set, 100 on a GPU and 600 on the CPU.",
        Effect.RELOAD,
        least=1,
        most=600_000,
    ),
    Setting("allow_image_urls", Form.BOOLEAN, "Whether pictures that requests name by URL are fetched.", Effect.REQUEST, False),
    Setting("max_images_per_request", Form.INTEGER, "Pictures that a request may have.", Effect.REQUEST, 20, least=0, most=_MOST),
    Setting(
        "max_image_bytes", Form.INTEGER, "Bytes that a picture's file may have.", Effect.REQUEST, 20_971_520, least=1, most=_MOST
    ),
    Setting(
        "max_image_pixels",
        Form.INTEGER,
        "Pixels that a picture may have, its width times its height.",
        Effect.REQUEST,
        50_000_000,
        least=1,
        most=_MOST,
    ),
    *SAMPLING,
    replace(_CONCURRENT, default=8),
    _KV_CACHE,
    _CONTEXT,
    replace(_TTL, default=0),
)


def check_changes(table: Mapping[str, Setting], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes to settings of a table as they are to be kept; None resets. Raises `InvalidSettingError` for the first wrong one."""
    return {name: find_setting(table, name).check(value) for name, value in changes.items()}


def find_setting(table: Mapping[str, Setting], name: str) -> Setting:
    """A setting by name. Raises `InvalidSettingError`, which says what may have been meant."""
    if name in table:
        return table[name]
    for other, words in (
        (MODEL_SETTINGS, "a model, not of the whole server"),
        (GLOBAL_SETTINGS, "the whole server, not of a model"),
    ):
        if name in other:
            raise InvalidSettingError(name, f"'{name}' is a setting of {words}.")
    near = difflib.get_close_matches(name, table, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InvalidSettingError(name, f"There is no setting '{name}'.{hint}")
