"""What the disk and the settings ask for: which models, and how each is to be loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.catalog.memory import Machine
from actors.catalog.serving import engine_options
from actors.contracts import EngineOptions
from actors.models import ModelInfo
from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, memory_bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """One model as it is to be served.

    Attributes:
        model: Its type as the settings have it.
        options: `kv_cache_bytes` as the settings have it; None leaves it to what is free when the model is loaded.
        replicas: The most engines.
        ttl_seconds: After how long without a request they are unloaded; None for never.
    """

    model: ModelInfo
    options: EngineOptions = field(default_factory=EngineOptions)
    replicas: int = 1
    is_pinned: bool = False
    ttl_seconds: float | None = None

    @property
    def load_key(self) -> tuple[object, ...]:
        """What an engine can't change while it runs: one with another key has to be replaced."""
        model, options = self.model, self.options
        return (
            model.path, model.revision, model.type,
            options.trust_remote_code, options.kv_cache_bytes, options.max_decode_stall_ms,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for all engines.

    Attributes:
        memory: Bytes for all of them together.
        load_seconds: After which a load is given up.
    """

    memory: int
    load_seconds: float


def wanted_of(model: ModelInfo, model_values: Mapping[str, Any], global_values: Mapping[str, Any], machine: Machine) -> Wanted:
    """How a model is to be served.

    Args:
        model: Its type as the settings have it.
        model_values: What is set for it.
        global_values: What is set for all.
        machine: What a share of memory is a share of.
    """
    return Wanted(
        model,
        engine_options(model_values, global_values, machine.total),
        replicas=model_values.get("replicas", MODEL_SETTINGS["replicas"].default),
        is_pinned=model_values.get("is_pinned", False),
        ttl_seconds=model_values.get("ttl_seconds", global_values.get("ttl_seconds")) or None,
    )


def limits_of(global_values: Mapping[str, Any], machine: Machine) -> Limits:
    """What holds for all engines, by what is set for all."""
    memory = global_values.get("max_process_memory")
    return Limits(
        machine.safe_share if memory is None else memory_bytes(memory, machine.total),
        global_values.get("load_timeout_seconds", GLOBAL_SETTINGS["load_timeout_seconds"].default),
    )
