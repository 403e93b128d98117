"""The catalog's side of the contracts: what it knows of models and engines, and the protocol to ask it. See `actors.contracts`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from actors.contracts import MLX_BACKEND, EngineInfo, Route
from actors.models import ModelInfo, Skipped

EngineState = Literal["loading", "ready", "draining", "waiting", "failed"]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine as the catalog sees it.

    Attributes:
        state: `draining` finishes what it has and takes no more; `waiting` is to be started again after a crash, a little later.
        restarts: How often it has been started again after its process died.
        reason: Why it failed, or ended last.
        info: What it says of itself, once it is ready.
        ready_seconds: For how long its model has been loaded; None before.
        max_concurrent_requests: The most sequences in its batch, by the options that it works with; None for one that failed.
    """

    model_id: str
    engine_id: str
    state: EngineState
    restarts: int = 0
    reason: str | None = None
    info: EngineInfo | None = None
    ready_seconds: float | None = None
    max_concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True)
class ImageRules:
    """Which pictures requests may have: the global settings of the same names.

    Attributes:
        allow_image_urls: Whether those that are named by URL are fetched.
        max_image_bytes: Of a file.
        max_image_pixels: Width times height.
    """

    allow_image_urls: bool = False
    max_images_per_request: int = 20
    max_image_bytes: int = 20_971_520
    max_image_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class Served:
    """How requests to a model are answered: everything that the ingress has to know of it.

    Attributes:
        model: The model on disk, its type as the settings have it.
        name: What clients see: its alias, or its id.
        defaults: For sampling fields that a request leaves out: model setting, else global setting, else the model's own
            `generation_config.json`. By the names of `actors.settings.SAMPLING`; those that nobody sets are missing.
        forced: Fields of `defaults` that win over the request's.
        context_window: The most tokens of prompt and answer together, if bounded by settings.
        chat_template: A template instead of the model's own.
        chat_template_kwargs: Variables for the template; the request's own win.
        is_default: Whether it answers requests that name no model.
        is_hidden: Whether it is left out of lists.
        clean_ocr: Whether marks of layout are left out of its answers, where a request doesn't say.
        image_rules: Which pictures it may be sent.
    """

    model: ModelInfo
    name: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    forced: frozenset[str] = frozenset()
    context_window: int | None = None
    chat_template: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    is_default: bool = False
    is_hidden: bool = False
    clean_ocr: bool = False
    image_rules: ImageRules = field(default_factory=ImageRules)

    @property
    def model_id(self) -> str:
        """The model's."""
        return self.model.model_id


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """Something that became of one of a model's engines.

    Attributes:
        kind: It was loaded or failed to be, was let go unasked, or is being started again after a crash.
        result: Of a load: `success`, `failed` (the model's fault), `crashed`, `no_memory` or `not_started` (no process to be had);
            of an eviction: `memory` (others needed it) or `idle`.
        seconds: From the start of its process until it served, for a load that succeeded.
    """

    model_id: str
    kind: Literal["load", "eviction", "restart"]
    result: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """What the catalog knows at a revision of its state.

    Attributes:
        routes: The engines that serve, by model id; several where a model has replicas.
        engines: Every engine.
        served: Every model, by id.
        events: What has happened since the revision that was asked with, the oldest first; the latest few hundred at the most.
    """

    revision: int
    routes: Mapping[str, tuple[Route, ...]] = field(default_factory=dict)
    engines: tuple[EngineStatus, ...] = ()
    served: Mapping[str, Served] = field(default_factory=dict)
    events: tuple[LifeEvent, ...] = ()

    def find(self, name: str) -> Served | None:
        """The model of an id or an alias; the default one for an empty name."""
        if not name:
            return next((served for served in self.served.values() if served.is_default), None)
        return self.served.get(name) or next((served for served in self.served.values() if served.name == name), None)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model and what became of it.

    Attributes:
        estimated_bytes: What its weights and its process would take once loaded.
        state: `unloaded`, or the best of its engines' states.
        is_pinned: Loaded at start, never unloaded to make room.
        engines: Its engines.
        memory_bytes: What they take, as measured.
        reason: Why its last load failed, if it did.
        ttl_seconds: After how long without a request it is unloaded; None for never.
        idle_seconds: For how long no engine of it has had a request; None while one has, or none is loaded.
    """

    served: Served
    estimated_bytes: int
    state: str
    is_pinned: bool = False
    engines: tuple[EngineStatus, ...] = ()
    memory_bytes: int = 0
    reason: str | None = None
    ttl_seconds: float | None = None
    idle_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """The memory of all engines together, in bytes.

    Attributes:
        budget: What they may take.
        reserved: What those that are up were promised, or take if that is more.
        used: What they take, as measured.
    """

    budget: int
    reserved: int
    used: int


@dataclass(frozen=True, slots=True)
class CatalogStatus:
    """Everything that the catalog knows."""

    models: tuple[ModelStatus, ...]
    skipped: tuple[Skipped, ...]
    memory: MemoryStatus


@dataclass(frozen=True, slots=True)
class SettingsView:
    """Settings as they are kept: those that are set, by name, and the revision to change them at."""

    values: Mapping[str, Any]
    revision: str


@dataclass(frozen=True, slots=True)
class CatalogConfig:
    """What the catalog is started with.

    Attributes:
        model_dirs: Where models are looked for.
        hf_cache: The Hugging Face cache's folder, if it is looked into.
        base_path: Where settings are kept; None for nowhere.
        overrides: Global settings that the command line or the environment decides.
        backend: What loads the models; see `EngineSpec`.
    """

    model_dirs: tuple[Path, ...]
    hf_cache: Path | None = None
    base_path: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    backend: str = MLX_BACKEND


class CatalogClient(Protocol):
    """The catalog, from another process. Names of models may be ids or aliases."""

    async def served(self) -> Sequence[Served]:
        """Every model on disk, by id; the disk is looked at anew."""
        ...

    async def find(self, name: str) -> Served:
        """A model by id or alias, the default one for an empty name; the disk is looked at anew. Raises `ModelNotFoundError`."""
        ...

    async def route(self, name: str, gone: str | None = None) -> Route:
        """An engine that serves a model, loaded if need be.

        Args:
            name: The model.
            gone: An engine that the caller found dead, so that it isn't given again.

        Raises `ModelNotFoundError`, `ModelLoadError` or `InsufficientMemoryError`.
        """
        ...

    async def watch(self, revision: int) -> RoutingTable:
        """The routing table once its revision differs from `revision`; the same one after at most half a minute."""
        ...

    async def status(self) -> CatalogStatus:
        """Everything; the disk is looked at anew, and engines are asked what they take."""
        ...

    async def refresh(self) -> CatalogStatus:
        """The same as `status`, with everything on disk read anew."""
        ...

    async def load(self, name: str) -> None:
        """Load a model, though its last load may have failed. Raises as `route` does."""
        ...

    async def unload(self, name: str, *, cancel: bool = False) -> None:
        """Let a model's engines go: once their requests have ended, or at once, ending these with an error.

        Raises `ModelNotFoundError`.
        """
        ...

    async def settings(self, name: str | None = None) -> SettingsView:
        """A model's settings, or the global ones. Raises `ModelNotFoundError`."""
        ...

    async def change_settings(self, name: str | None, changes: Mapping[str, Any], revision: str | None) -> SettingsView:
        """Set and reset (None) some settings of a model, or global ones.

        Args:
            name: The model; None for global settings.
            changes: Values by name.
            revision: That of the settings as they were read; None takes whatever they are.

        Raises `ModelNotFoundError`, `InvalidSettingError` or `StaleRevisionError`; then nothing has changed.
        """
        ...
