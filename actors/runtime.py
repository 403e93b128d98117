"""Every call to Ray: the private runtime, the catalog actor, the engine actors, and clients for both.

The classes that the actors wrap (`actors.catalog.Catalog`, `actors.engine.Engine`) know nothing of Ray.
"""

import asyncio
import importlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TypeVar

# Ray reads these when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
if (Path.home() / ".ray" / "auth_token").exists():
    # Ray shows the user's token only to clusters that it finds by itself, not to one given by address.
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError

from actors.contracts import CatalogConfig, EngineClient, EngineInfo, EngineSpec, Job, ModelInfo, Route, RoutingTable
from actors.errors import CatalogError, EngineError, OmlxError

_NAMESPACE = "omlx"
_CATALOG = "catalog"
_ENGINE_PREFIX = "engine:"
_OBJECT_STORE_BYTES = 78_643_200  # the least that Ray takes; only small items travel
_MANY = 10_000  # concurrent calls of an async actor: waiting calls cost nothing
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where an actor's log lines go: a file of its own, `<folder>/<who>.log`, of bounded size.

    Attributes:
        folder: Created where it is missing.
        level: `debug`, `info`, `warning` or `error`.
    """

    folder: Path
    level: str = "info"

    def begin(self, who: str) -> None:
        """Send this process' log lines to its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(self.folder / f"{who}.log", maxBytes=1_000_000, backupCount=2, encoding="utf-8")
        logging.basicConfig(
            level=self.level.upper(), format="%(asctime)s %(levelname)s %(message)s", handlers=[handler], force=True
        )


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How to get a Ray runtime.

    Attributes:
        address: A running cluster to join; None starts a private one that ends with this process.
        logs: Where the actors' log lines go.
        work_dir: An existing folder that holds no Python files: the workers' current directory, so that a user's
            `scheduler.py` is not taken for ours.
    """

    work_dir: Path
    logs: "LogConfig"
    address: str | None = None


class RayRuntime:
    """A started runtime with a catalog, seen from the process that started it."""

    def __init__(self, config: RuntimeConfig, catalog: CatalogConfig) -> None:
        self._config = config
        self._catalog_config = catalog
        self._catalog: Any = None
        self._temp_dir: str | None = None

    def start(self) -> None:
        """Start or join Ray, and the catalog in it. Blocks for some seconds."""
        os.chdir(self._config.work_dir)
        if self._config.address is None:
            self._temp_dir = _new_temp_dir()
            ray.init(
                address="local",
                _temp_dir=self._temp_dir,
                namespace=_NAMESPACE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=_OBJECT_STORE_BYTES,
                _system_config={"prestart_worker_first_driver": False},
            )
        else:
            ray.init(address=self._config.address, namespace=_NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
        _mute_worker_errors()
        self._catalog = (
            ray.remote(_titled(_CatalogActor, "omlx catalog"))
            .options(
                name=_CATALOG,
                get_if_exists=True,
                lifetime="detached",
                num_cpus=0,
                max_concurrency=_MANY,
                # Rebuilt from the disk and the living engines; its calls can all be repeated.
                max_restarts=-1,
                max_task_retries=-1,
                runtime_env={"env_vars": _worker_environment()},
            )
            .remote(self._catalog_config, self._config.logs)
        )
        ray.get(self._catalog.ready.remote())

    def catalog(self) -> "RayCatalogClient":
        """A client for the catalog."""
        return RayCatalogClient(self._catalog)

    def engines(self) -> "RayEngineHost":
        """What connects to engines."""
        return RayEngineHost(self._config.logs)

    def stop(self) -> None:
        """End the catalog and every engine, and leave Ray; a private runtime ends with that."""
        if not ray.is_initialized():
            return
        if self._config.address is not None and self._catalog is not None:
            with suppress(RayError):
                ray.get(self._catalog.stop.remote(), timeout=3)
            ray.kill(self._catalog)
        ray.shutdown()
        if self._temp_dir is not None:
            shutil.rmtree(self._temp_dir, ignore_errors=True)


class RayCatalogClient:
    """See `actors.contracts.CatalogClient`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def models(self) -> Sequence[ModelInfo]:
        return await self._call(self._actor.models.remote())

    async def route(self, model_id: str, gone: str | None = None) -> Route:
        return await self._call(self._actor.route.remote(model_id, gone))

    async def watch(self, revision: int) -> RoutingTable:
        return await self._call(self._actor.watch.remote(revision))

    async def pid(self) -> int:
        """The catalog's process."""
        return await self._call(self._actor.pid.remote())

    async def _call(self, reference: Awaitable[_T]) -> _T:
        try:
            return await reference
        except RayTaskError as error:
            raise _own_error(error) from None
        except RayError as error:
            raise CatalogError(f"The catalog can't be reached: {_first_line(error)}") from error


class RayEngineClient:
    """See `actors.contracts.EngineClient`."""

    def __init__(self, model_id: str, actor: Any) -> None:
        self._model_id = model_id
        self._actor = actor

    async def load(self) -> EngineInfo:
        return await self._call(self._actor.load.remote())

    async def submit(self, consumer: str, job: Job) -> int:
        return await self._call(self._actor.submit.remote(consumer, job))

    async def abort(self, request_ids: Sequence[str]) -> None:
        await self._call(self._actor.abort.remote(tuple(request_ids)))

    async def stream(self, consumer: str) -> AsyncIterator[bytes]:
        items = self._actor.stream.options(num_returns="streaming").remote(consumer)
        try:
            async for item in items:
                yield await self._call(item)
        except RayError as error:
            raise self._gone(error) from error
        finally:
            # Dropping a stream doesn't end it.
            with suppress(RayError):
                ray.cancel(items)

    async def closed(self) -> None:
        with suppress(RayError):
            await self._actor.forever.remote()

    async def _call(self, reference: Awaitable[_T]) -> _T:
        try:
            return await reference
        except RayTaskError as error:
            raise _own_error(error) from None
        except RayError as error:
            raise self._gone(error) from error

    def _gone(self, error: RayError) -> EngineError:
        died = isinstance(error, ActorDiedError | ActorUnavailableError)
        return EngineError(self._model_id, "its process has ended" if died else _first_line(error))


class RayEngineHost:
    """See `actors.contracts.EngineHost`: engines are named, detached actors."""

    def __init__(self, logs: "LogConfig") -> None:
        self._logs = logs

    async def start(self, spec: EngineSpec) -> EngineClient:
        actor = (
            ray.remote(_titled(_EngineActor, f"omlx engine {spec.model.model_id}"))
            .options(
                name=_ENGINE_PREFIX + json.dumps([spec.engine_id, spec.model.model_id]),
                lifetime="detached",
                num_cpus=0,
                max_concurrency=_MANY,
                max_restarts=0,  # the catalog decides whether and when
                max_task_retries=0,
                runtime_env={"env_vars": _worker_environment()},
            )
            .remote(spec, self._logs)
        )
        return RayEngineClient(spec.model.model_id, actor)

    async def running(self) -> Sequence[tuple[EngineSpec, EngineClient]]:
        found: list[tuple[EngineSpec, EngineClient]] = []
        for name in _engine_names():
            with suppress(RayError, ValueError):  # it ended meanwhile
                actor = ray.get_actor(name)
                spec = await actor.describe.remote()
                found.append((spec, RayEngineClient(spec.model.model_id, actor)))
        return found

    async def kill(self, engine_id: str) -> None:
        for name in _engine_names():
            if _engine_of(name)[0] == engine_id:
                with suppress(RayError, ValueError):
                    ray.kill(ray.get_actor(name))

    async def connect(self, engine_id: str) -> EngineClient:
        for name in _engine_names():
            found_id, model_id = _engine_of(name)
            if found_id == engine_id:
                with suppress(ValueError):
                    return RayEngineClient(model_id, ray.get_actor(name))
        raise EngineError(engine_id, "its process has ended")


class _CatalogActor:
    """The catalog's process."""

    def __init__(self, config: CatalogConfig, logs: "LogConfig") -> None:
        logs.begin("catalog")
        self._config = config
        self._logs = logs
        self._starting: asyncio.Future[Any] | None = None

    async def ready(self) -> None:
        await self._catalog()

    async def models(self) -> Sequence[ModelInfo]:
        models: Sequence[ModelInfo] = await (await self._catalog()).models()
        return models

    async def route(self, model_id: str, gone: str | None) -> Route:
        route: Route = await (await self._catalog()).route(model_id, gone)
        return route

    async def watch(self, revision: int) -> RoutingTable:
        table: RoutingTable = await (await self._catalog()).watch(revision)
        return table

    async def pid(self) -> int:
        return os.getpid()

    async def stop(self) -> None:
        await (await self._catalog()).stop()

    async def _catalog(self) -> Any:
        # Not in __init__: an async actor has no event loop there yet.
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Any:
        from actors.catalog.catalog import Catalog

        catalog = Catalog(self._config, RayEngineHost(self._logs))
        await catalog.start()
        return catalog


class _EngineActor:
    """An engine's process."""

    def __init__(self, spec: EngineSpec, logs: "LogConfig") -> None:
        logs.begin(f"engine-{spec.model.model_id}")
        from actors.engine.engine import Engine

        module, _, function = spec.backend.partition(":")
        load_backend = getattr(importlib.import_module(module), function)
        self._engine = Engine(spec, load_backend, on_broken=self._end_soon)

    async def load(self) -> EngineInfo:
        return await self._engine.load()

    async def submit(self, consumer: str, job: Job) -> int:
        return await self._engine.submit(consumer, job)

    async def abort(self, request_ids: Sequence[str]) -> None:
        await self._engine.abort(request_ids)

    async def stream(self, consumer: str) -> AsyncIterator[bytes]:
        async for item in self._engine.stream(consumer):
            yield item

    async def describe(self) -> EngineSpec:
        return self._engine.spec

    async def forever(self) -> None:
        """Answers only by the process' death."""
        await asyncio.get_running_loop().create_future()

    def _end_soon(self, reason: str) -> None:
        # `exit_actor` would count as a wish; this is a failure. The delay lets the streams' last items go out.
        _log.critical("ending the process: %s", reason)
        asyncio.get_running_loop().call_later(0.5, os._exit, 1)


def _titled(actor_class: type[_T], title: str) -> type[_T]:
    """The class under another name: Ray titles an actor's process `ray::<name of its class>`."""
    return type(title, (actor_class,), {"__module__": __name__})


def _new_temp_dir() -> str:
    """A folder for a private runtime's files, named by this process; those of processes that were killed are removed."""
    for folder in Path("/tmp").glob("omlx-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    # Right below /tmp: Ray puts its sockets there, and a socket's path has at most 104 characters on macOS.
    return tempfile.mkdtemp(prefix=f"omlx-{os.getpid()}-", dir="/tmp")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _worker_environment() -> dict[str, str]:
    return {"RAY_USAGE_STATS_ENABLED": "0"}


def _engine_names() -> list[str]:
    return [name for name in ray.util.list_named_actors() if name.startswith(_ENGINE_PREFIX)]


def _engine_of(name: str) -> tuple[str, str]:
    engine_id, model_id = json.loads(name.removeprefix(_ENGINE_PREFIX))
    return engine_id, model_id


def _own_error(error: RayTaskError) -> Exception:
    """The error as it was raised in the actor; Ray wraps it."""
    cause = error.cause
    return cause if isinstance(cause, OmlxError) else error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _mute_worker_errors() -> None:
    """Keep Ray's own paragraphs about dead workers off the terminal; the server says it in a line."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *_args, **_kwargs: None
