"""Every call to Ray: the private runtime, the catalog actor, the engine actors, and clients for both.

The classes that the actors wrap (`actors.catalog.Catalog`, the engines of `actors.engine`) know nothing of Ray.
"""

import asyncio
import importlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.contracts import (
    EmbedJob,
    EngineClient,
    EngineInfo,
    EngineOptions,
    EngineSpec,
    EngineUsage,
    Job,
    RerankJob,
    Route,
    Scores,
    Vectors,
)
from actors.control import CatalogClient, CatalogConfig, CatalogStatus, RoutingTable, Served, SettingsView
from actors.errors import CatalogError, EngineError, OmlxError
from actors.logs import LogConfig

_HANDED_ON = ("HF_ENDPOINT",)
_NAMESPACE = "omlx"
_CATALOG = "catalog"
_ENGINE_PREFIX = "engine:"
_OBJECT_STORE_BYTES = 78_643_200  # the least that Ray takes; only small items travel
_MANY = 10_000  # concurrent calls of an async actor: waiting calls cost nothing
_ANSWER_SECONDS = 30  # for an engine that is alive to say which it is, while it imports what it needs too
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


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
    logs: LogConfig
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
            .remote(self._catalog_config, self._config.logs, in_cluster=self._is_joined)
        )
        ray.get(self._catalog.ready.remote())

    def catalog(self) -> "RayCatalogClient":
        """A client for the catalog."""
        return RayCatalogClient(self._catalog)

    def engines(self) -> "RayEngineHost":
        """What connects to engines."""
        return RayEngineHost(self._config.logs, in_cluster=self._is_joined)

    @property
    def _is_joined(self) -> bool:
        return self._config.address is not None

    def stop(self) -> None:
        """End the catalog and every engine, and leave Ray; a private runtime ends with that."""
        if not ray.is_initialized():
            return
        if self._is_joined and self._catalog is not None:
            with suppress(RayError):
                ray.get(self._catalog.stop.remote(), timeout=3)
            ray.kill(self._catalog)
        ray.shutdown()
        if self._temp_dir is not None:
            shutil.rmtree(self._temp_dir, ignore_errors=True)


class RayCatalogClient:
    """See `actors.control.CatalogClient`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def served(self) -> Sequence[Served]:
        return await self._call(self._actor.served.remote())

    async def find(self, name: str) -> Served:
        return await self._call(self._actor.find.remote(name))

    async def route(self, name: str, gone: str | None = None) -> Route:
        return await self._call(self._actor.route.remote(name, gone))

    async def watch(self, revision: int) -> RoutingTable:
        return await self._call(self._actor.watch.remote(revision))

    async def status(self) -> CatalogStatus:
        return await self._call(self._actor.status.remote())

    async def refresh(self) -> CatalogStatus:
        return await self._call(self._actor.refresh.remote())

    async def load(self, name: str) -> None:
        await self._call(self._actor.load.remote(name))

    async def unload(self, name: str, *, cancel: bool = False) -> None:
        await self._call(self._actor.unload.remote(name, cancel=cancel))

    async def settings(self, name: str | None = None) -> SettingsView:
        return await self._call(self._actor.settings.remote(name))

    async def change_settings(self, name: str | None, changes: Mapping[str, Any], revision: str | None) -> SettingsView:
        return await self._call(self._actor.change_settings.remote(name, dict(changes), revision))

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

    async def count(self, job: Job) -> int:
        return await self._call(self._actor.count.remote(job))

    async def abort(self, request_ids: Sequence[str]) -> None:
        await self._call(self._actor.abort.remote(tuple(request_ids)))

    async def embed(self, job: EmbedJob) -> Vectors:
        vectors: Vectors = await self._cancelling(self._actor.embed.remote(job))
        return vectors

    async def rerank(self, job: RerankJob) -> Scores:
        scores: Scores = await self._cancelling(self._actor.rerank.remote(job))
        return scores

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

    async def usage(self) -> EngineUsage:
        return await self._call(self._actor.usage.remote())

    async def retire(self, *, only_if_idle: bool = False) -> bool:
        return await self._call(self._actor.retire.remote(only_if_idle=only_if_idle))

    async def idle(self) -> None:
        await self._call(self._actor.idle.remote())

    async def configure(self, options: EngineOptions) -> None:
        await self._call(self._actor.configure.remote(options))

    async def _cancelling(self, reference: Awaitable[_T]) -> _T:
        """A call's answer; whoever doesn't wait for it any more ends the call too."""
        try:
            return await self._call(reference)
        except asyncio.CancelledError:
            with suppress(RayError):
                ray.cancel(reference)
            raise

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
    """See `actors.contracts.EngineHost`: engines are named, detached actors.

    Args:
        logs: Where their log lines go.
        in_cluster: Whether there are nodes to choose from.
    """

    def __init__(self, logs: LogConfig, *, in_cluster: bool = False) -> None:
        self._logs = logs
        self._in_cluster = in_cluster

    async def start(self, spec: EngineSpec) -> EngineClient:
        actor = (
            ray.remote(_titled(_EngineActor, f"omlx engine {spec.model.model_id}"))
            .options(
                name=_ENGINE_PREFIX + json.dumps([spec.engine_id, spec.model.model_id]),
                lifetime="detached",
                num_cpus=0,
                memory=spec.memory_bytes if spec.node else 0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(spec.node, soft=False) if spec.node else None,
                max_concurrency=_MANY,
                max_restarts=0,  # the catalog decides whether and when
                max_task_retries=0,
                runtime_env={"env_vars": _worker_environment()},
            )
            .remote(spec, self._logs)
        )
        return RayEngineClient(spec.model.model_id, actor)

    async def running(self) -> Sequence[tuple[EngineSpec, EngineClient]]:
        found = await asyncio.gather(*(self._describe(name) for name in _engine_names()))
        return [each for each in found if each is not None]

    async def kill(self, engine_id: str) -> None:
        for name in _engine_names():
            if _engine_of(name)[0] == engine_id:
                _kill(name)

    async def nodes(self) -> Mapping[str, int] | None:
        if not self._in_cluster:
            return None
        # What each has, and not what Ray says is free there: that is told from node to node, and can be wrong for half a minute.
        nodes = await asyncio.to_thread(ray.nodes)
        return {node["NodeID"]: int(node["Resources"].get("memory", 0)) for node in nodes if node["Alive"]}

    async def connect(self, engine_id: str) -> EngineClient:
        for name in _engine_names():
            found_id, model_id = _engine_of(name)
            if found_id == engine_id:
                with suppress(ValueError):
                    return RayEngineClient(model_id, ray.get_actor(name))
        raise EngineError(engine_id, "its process has ended")

    async def _describe(self, name: str) -> tuple[EngineSpec, EngineClient] | None:
        """An engine by its actor's name; None for one that has ended meanwhile. One that doesn't come up is killed."""
        try:
            actor = ray.get_actor(name)
            async with asyncio.timeout(_ANSWER_SECONDS):
                spec = await actor.describe.remote()
        except TimeoutError:
            # It waits for a place on a node, and nobody waits for it any more.
            _log.warning("%s does not answer; ending it", name)
            _kill(name)
            return None
        except (RayError, ValueError):
            return None
        return spec, RayEngineClient(spec.model.model_id, actor)


def _delegating(protocol: type, *but: str) -> Callable[[type[_T]], type[_T]]:
    """Gives an actor's class the calls of a protocol, except some: each is passed on to what the actor's `_behind` answers."""

    def delegation(name: str) -> Callable[..., Awaitable[Any]]:
        async def call(self: Any, *args: Any, **options: Any) -> Any:
            return await getattr(await self._behind(), name)(*args, **options)

        call.__name__ = name
        return call

    def complete(actor_class: type[_T]) -> type[_T]:
        for name in vars(protocol):
            if not name.startswith("_") and name not in but:
                setattr(actor_class, name, delegation(name))
        return actor_class

    return complete


@_delegating(CatalogClient)
class _CatalogActor:
    """The catalog's process."""

    def __init__(self, config: CatalogConfig, logs: LogConfig, *, in_cluster: bool) -> None:
        logs.begin("catalog")
        self._config = config
        self._host = RayEngineHost(logs, in_cluster=in_cluster)
        self._starting: asyncio.Future[Any] | None = None

    async def ready(self) -> None:
        await self._behind()

    async def pid(self) -> int:
        return os.getpid()

    async def stop(self) -> None:
        await (await self._behind()).stop()

    async def _behind(self) -> Any:
        # Not in __init__: an async actor has no event loop there yet.
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Any:
        from actors.catalog.catalog import Catalog

        catalog = Catalog(self._config, self._host)
        await catalog.start()
        return catalog


@_delegating(EngineClient, "stream", "closed")
class _EngineActor:
    """An engine's process."""

    def __init__(self, spec: EngineSpec, logs: LogConfig) -> None:
        logs.begin(f"engine-{spec.model.model_id}")
        from actors.engine.kinds import new_engine

        module, _, function = spec.backend.partition(":")
        load = getattr(importlib.import_module(module), function)
        self._engine = new_engine(spec, load, on_broken=self._end_soon)

    async def stream(self, consumer: str) -> AsyncIterator[bytes]:
        async for item in self._engine.stream(consumer):
            yield item

    async def describe(self) -> EngineSpec:
        return self._engine.spec

    async def forever(self) -> None:
        """Answers only by the process' death."""
        await asyncio.get_running_loop().create_future()

    async def _behind(self) -> Any:
        return self._engine

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
    # On other machines of a cluster, the engines' libraries would not know which hub to ask.
    return {"RAY_USAGE_STATS_ENABLED": "0"} | {name: os.environ[name] for name in _HANDED_ON if name in os.environ}


def _kill(name: str) -> None:
    with suppress(RayError, ValueError):  # it has ended already
        ray.kill(ray.get_actor(name))


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
