"""The catalog's state as JSON: models, engines, skipped folders, memory. Sizes are in bytes, times in seconds."""

from typing import Any

from pydantic import BaseModel

from actors.control import CatalogStatus, EngineState, EngineStatus, ModelStatus
from actors.errors import ModelNotFoundError
from actors.models import ModelType


class EngineShown(BaseModel):
    """One engine; its process and its device once it is ready. `max_concurrent_requests` is the most that its batch has room for."""

    engine_id: str
    state: EngineState
    restarts: int
    pid: int | None
    device: str | None
    reason: str | None
    ready_seconds: float | None
    max_concurrent_requests: int | None


class ModelShown(BaseModel):
    """A model on disk and what became of it."""

    id: str
    alias: str | None
    type: ModelType
    architecture: str
    path: str
    revision: str
    quantization: str | None
    context_length: int | None
    size_bytes: int
    estimated_bytes: int
    memory_bytes: int
    loaded: bool
    state: str
    reason: str | None
    is_pinned: bool
    is_default: bool
    is_hidden: bool
    ttl_seconds: float | None
    idle_seconds: float | None
    engines: list[EngineShown]


class SkippedShown(BaseModel):
    """A folder that looks like a model and can't be served."""

    path: str
    reason: str


class MemoryShown(BaseModel):
    """The memory of all engines together."""

    budget_bytes: int
    reserved_bytes: int
    used_bytes: int


class CatalogShown(BaseModel):
    """Everything that the catalog knows."""

    models: list[ModelShown]
    skipped: list[SkippedShown]
    memory: MemoryShown


def catalog_shown(status: CatalogStatus) -> CatalogShown:
    """All of it."""
    memory = status.memory
    return CatalogShown(
        models=[_model(model) for model in status.models],
        skipped=[SkippedShown(path=str(skipped.path), reason=skipped.reason) for skipped in status.skipped],
        memory=MemoryShown(budget_bytes=memory.budget, reserved_bytes=memory.reserved, used_bytes=memory.used),
    )


def model_shown(status: CatalogStatus, model_id: str) -> ModelShown:
    """One model. Raises `ModelNotFoundError`."""
    for model in status.models:
        if model.served.model_id == model_id:
            return _model(model)
    raise ModelNotFoundError(model_id, [model.served.name for model in status.models])


def _model(status: ModelStatus) -> ModelShown:
    served = status.served
    model = served.model
    return ModelShown(
        id=model.model_id,
        alias=None if served.name == model.model_id else served.name,
        path=str(model.path),
        loaded=status.state == "ready",
        is_default=served.is_default,
        is_hidden=served.is_hidden,
        engines=[_engine(engine) for engine in status.engines],
        **_same(model, "type", "architecture", "revision", "quantization", "context_length", "size_bytes"),
        **_same(status, "estimated_bytes", "memory_bytes", "state", "reason", "is_pinned", "ttl_seconds", "idle_seconds"),
    )


def _same(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _engine(status: EngineStatus) -> EngineShown:
    info = status.info
    return EngineShown(
        pid=info.pid if info else None,
        device=info.device if info else None,
        **_same(status, "engine_id", "state", "restarts", "reason", "ready_seconds", "max_concurrent_requests"),
    )
