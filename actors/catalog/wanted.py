"""What the disk and the settings ask for: which models, and how each is to be loaded."""

from dataclasses import dataclass, field

from actors.contracts import EngineOptions
from actors.models import ModelInfo


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
