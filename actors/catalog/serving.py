"""How models are served, by their files and their settings: names, defaults, options. Pure; nothing is kept."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

from actors.catalog.settings_store import SettingsStore
from actors.contracts import EngineOptions
from actors.control import ImageRules, Served
from actors.errors import InvalidSettingError
from actors.models import Inventory, ModelInfo, ModelType
from actors.settings import SAMPLING, memory_bytes

_log = logging.getLogger(__name__)


def serve_all(inventory: Inventory, store: SettingsStore) -> dict[str, Served]:
    """How requests to each model are answered, by id in the order of ids.

    Names are unique, and one model at most is the default, whatever the files say: an id wins over an alias, and of models
    that claim the same, the first by id has it. The others are warned of, once.
    """
    everything = store.global_values()
    found = {model_id: served(model, store.model(model_id), everything) for model_id, model in sorted(inventory.models.items())}
    taken: dict[str, str] = {}
    default: str | None = None
    for model_id, one in found.items():
        if one.name != model_id:
            owner = one.name if one.name in found else taken.setdefault(one.name, model_id)
            if owner != model_id:
                _warn(f"The alias '{one.name}' of '{model_id}' is not used: {_clash(one.name, owner)}")
                found[model_id] = replace(found[model_id], name=model_id)
        if one.is_default:
            default = default or model_id
            if default != model_id:
                _warn(f"'{model_id}' is not the default model: '{default}' is.")
                found[model_id] = replace(found[model_id], is_default=False)
    return found


def served(model: ModelInfo, model_values: Mapping[str, Any], global_values: Mapping[str, Any]) -> Served:
    """How requests to one model are answered.

    A sampling default is the model's setting, else the global one, else what its `generation_config.json` says, if that is
    a value that the setting could have.

    Args:
        model: The model on disk.
        model_values: What is set for it.
        global_values: What is set for all.
    """
    merged = {**_valid(model.generation), **global_values, **model_values}
    override = model_values.get("model_type_override")
    return Served(
        model=model if override is None else replace(model, type=ModelType(override)),
        name=model_values.get("model_alias", model.model_id),
        defaults={each.name: merged[each.name] for each in SAMPLING if each.name in merged},
        forced=frozenset(each.name for each in SAMPLING if model_values.get("force_sampling") and each.name in model_values),
        context_window=merged.get("max_context_window"),
        chat_template=model_values.get("chat_template"),
        chat_template_kwargs=model_values.get("chat_template_kwargs", {}),
        is_default=model_values.get("is_default", False),
        is_hidden=model_values.get("is_hidden", False),
        clean_ocr=model_values.get("clean_ocr", False),
        image_rules=ImageRules(
            **{each.name: global_values[each.name] for each in fields(ImageRules) if each.name in global_values}
        ),
    )


def engine_options(model_values: Mapping[str, Any], global_values: Mapping[str, Any], total_memory: int) -> EngineOptions:
    """How a model's engine works.

    Args:
        model_values: What is set for it. Alone decides whether its own code is trusted.
        global_values: What is set for all.
        total_memory: Bytes that a share of memory is a share of.
    """
    values = {**global_values, **model_values}
    same = ("max_concurrent_requests", "max_queued_requests", "max_decode_stall_ms")
    kv_cache = values.get("kv_cache_max_bytes")
    return EngineOptions(
        **{name: values[name] for name in same if name in values},
        kv_cache_bytes=None if kv_cache is None else memory_bytes(kv_cache, total_memory),
        trust_remote_code=model_values.get("trust_remote_code", False),
    )


def check_alias(alias: str, model_id: str, ids: Collection[str], aliases: Mapping[str, str]) -> None:
    """See that a model may have an alias.

    Args:
        alias: The name.
        model_id: Whose it is to be.
        ids: Every model on disk.
        aliases: The aliases that are set, by id. Those of models that aren't on disk don't count.

    Raises `InvalidSettingError`, which names the other model, when it is another model's id or alias.
    """
    if alias in ids and alias != model_id:
        raise InvalidSettingError("model_alias", f"The alias '{alias}' can't be used: {_clash(alias, alias)}")
    for other in sorted(ids):
        if other != model_id and aliases.get(other) == alias:
            raise InvalidSettingError("model_alias", f"The alias '{alias}' can't be used: {_clash(alias, other)}")


def _clash(alias: str, owner: str) -> str:
    return f"the model '{owner}' {'is called that' if alias == owner else 'has it already'}."


def _valid(generation: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for each in SAMPLING:
        try:
            value = each.check(generation.get(each.name))
        except InvalidSettingError:
            continue
        if value is not None:
            values[each.name] = value
    return values


@lru_cache(maxsize=256)
def _warn(message: str) -> None:
    """Say it once, not on every look at the settings."""
    _log.warning(message)
