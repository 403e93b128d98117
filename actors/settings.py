"""The settings there are: name, form, default, help, and when a change takes effect. Who keeps them: `actors.catalog.settings_store`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from actors.errors import InvalidSettingError
from actors.models import ModelType


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
    TEXTS = "texts"
    OBJECT = "object"
    CHOICE = "choice"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: As in the files and in the API.
        form: What it takes. `memory` is bytes, as a number or as text like `12GB` or `60%`.
        help: One sentence.
        effect: When a change is felt.
        default: What holds where nothing is set; None leaves it to the next source in order, or to the machine.
        least, most: Bounds of a number, inclusive.
        choices: Of a choice.
    """

    name: str
    form: Form
    help: str
    effect: Effect
    default: Any = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> Any:
        """A value as it is to be kept; None (nothing set) is always taken. Raises `InvalidSettingError`."""
        raise InvalidSettingError(self.name, "")


# What a request may say for itself, and a model or everything may have a default for.
SAMPLING: tuple[Setting, ...] = (
    Setting("max_tokens", Form.INTEGER, "The most tokens of an answer.", Effect.REQUEST, least=1),
    Setting("temperature", Form.NUMBER, "How freely tokens are drawn; 0 takes the likeliest.", Effect.REQUEST, least=0, most=2),
    Setting(
        "top_p", Form.NUMBER, "Draw from the likeliest tokens of this probability together.", Effect.REQUEST, least=0, most=1
    ),
    Setting("top_k", Form.INTEGER, "Draw from so many of the likeliest tokens; 0 for all.", Effect.REQUEST, least=0),
    Setting(
        "min_p", Form.NUMBER, "Leave out tokens less likely than this share of the likeliest.", Effect.REQUEST, least=0, most=1
    ),
    Setting(
        "repetition_penalty",
        Form.NUMBER,
        "Above 1, tokens that have come become less likely.",
        Effect.REQUEST,
        least=0.01,
        most=10,
    ),
    Setting("presence_penalty", Form.NUMBER, "Taken from the logit of tokens in the answer.", Effect.REQUEST, least=-2, most=2),
    Setting("frequency_penalty", Form.NUMBER, "The same for each time that they have come.", Effect.REQUEST, least=-2, most=2),
    Setting("seed", Form.INTEGER, "Makes answers repeatable.", Effect.REQUEST),
    Setting("stop", Form.TEXTS, "Texts that end an answer.", Effect.REQUEST),
)

_ENGINE: tuple[Setting, ...] = (
    Setting(
        "max_concurrent_requests",
        Form.INTEGER,
        "Requests that a model answers at once; more of them wait.",
        Effect.ENGINE,
        least=1,
    ),
    Setting("kv_cache_max_bytes", Form.MEMORY, "Memory for a model's KV cache.", Effect.RELOAD),
    Setting("max_context_window", Form.INTEGER, "The most tokens of prompt and answer together.", Effect.REQUEST, least=2),
    Setting(
        "ttl_seconds",
        Form.NUMBER,
        "Seconds without a request after which a model is unloaded; 0 for never.",
        Effect.ENGINE,
        least=0,
    ),
)

MODEL_SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("model_alias", Form.TEXT, "The name that clients see and use; the folder's name is taken too.", Effect.REQUEST),
        Setting(
            "model_type_override",
            Form.CHOICE,
            "What the model is for, instead of what its files say.",
            Effect.RELOAD,
            choices=tuple(ModelType),
        ),
        *SAMPLING,
        Setting("force_sampling", Form.BOOLEAN, "Whether these sampling settings win over the request's.", Effect.REQUEST, False),
        *_ENGINE,
        Setting("chat_template", Form.TEXT, "A chat template (Jinja) instead of the model's own.", Effect.REQUEST),
        Setting("chat_template_kwargs", Form.OBJECT, "Variables for the chat template, such as enable_thinking.", Effect.REQUEST),
        Setting("is_pinned", Form.BOOLEAN, "Loaded at start, and never unloaded to make room.", Effect.ENGINE, False),
        Setting("is_default", Form.BOOLEAN, "Answers requests that name no model.", Effect.REQUEST, False),
        Setting("is_hidden", Form.BOOLEAN, "Left out of /v1/models; it can still be asked.", Effect.REQUEST, False),
        Setting("replicas", Form.INTEGER, "How many engines serve it.", Effect.ENGINE, 1, least=1, most=64),
        Setting(
            "trust_remote_code",
            Form.BOOLEAN,
            "Whether Python files of the model's folder may be run. They can do anything that you can.",
            Effect.RELOAD,
            False,
        ),
    )
}

GLOBAL_SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("model_dirs", Form.TEXTS, "Folders that hold models.", Effect.RESTART),
        Setting("hf_cache", Form.BOOLEAN, "Whether models in the Hugging Face cache are served too.", Effect.RESTART, True),
        Setting("host", Form.TEXT, "Address to listen on.", Effect.RESTART, "127.0.0.1"),
        Setting("port", Form.INTEGER, "Port to listen on.", Effect.RESTART, 8000, least=0, most=65535),
        Setting(
            "log_level",
            Form.CHOICE,
            "The least severe lines to log.",
            Effect.RESTART,
            "info",
            choices=("debug", "info", "warning", "error"),
        ),
        Setting("ray_address", Form.TEXT, "A running Ray cluster to join.", Effect.RESTART),
        Setting("max_process_memory", Form.MEMORY, "Memory for all models together.", Effect.ENGINE),
        Setting("load_timeout_seconds", Form.NUMBER, "Seconds after which a load is given up.", Effect.ENGINE, 600, least=1),
        Setting(
            "max_queued_requests",
            Form.INTEGER,
            "Requests that may wait for a model; more are told when to come back.",
            Effect.ENGINE,
            256,
            least=0,
        ),
        Setting(
            "max_decode_stall_ms", Form.INTEGER, "Milliseconds that a step may take while answers stream.", Effect.RELOAD, least=1
        ),
        *SAMPLING,
        *_ENGINE,
    )
}
