"""Runs the server: the Ray runtime below, uvicorn above, and an orderly end for both."""

import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from actors.control import CatalogConfig, Served
from actors.errors import OmlxError
from actors.logs import LogConfig
from actors.models import ModelType
from actors.runtime import RayRuntime, RuntimeConfig
from omlx.access.access import Access
from omlx.access.access_file import AccessFile
from omlx.access.usage import KeyUsage
from omlx.api.caller import is_loopback
from omlx.app import create_app
from omlx.benchmark.bench import Bench
from omlx.downloads.service import DownloadService
from omlx.logs import keep_lines
from omlx.record import RequestObserver
from omlx.request_log import RequestLog
from omlx.services import Services
from omlx.settings import ServeSettings

if TYPE_CHECKING:
    from omlx.telemetry.export import OtlpExport

_log = logging.getLogger(__name__)
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DRAIN_SECONDS = 1  # for open streams, once the end was asked for
_CHATTING = (ModelType.LLM, ModelType.VLM)  # what the example that is shown can be typed for
_END_SECONDS = 4.5  # after which the process ends, whatever still hangs


class ServerError(OmlxError):
    """The server can't start."""


def serve(settings: ServeSettings, api_key: str | None = None) -> None:
    """Serve until interrupted.

    Args:
        settings: What is asked for.
        api_key: An administrator's key that counts as long as this server runs.

    Raises `ServerError` when the address can't be had, nobody would need a key where other machines can reach it, Ray doesn't start, or
    packages are missing for what is asked; `AccessFileError`.
    """
    _check_packages(settings)
    _name_hub(settings)
    access = _access(settings, api_key)
    listener = _listen(settings.host, settings.port)
    settings.base_path.mkdir(parents=True, exist_ok=True)
    run_dir = settings.base_path / "run"
    run_dir.mkdir(exist_ok=True)
    logs = LogConfig(settings.log_dir, settings.log_level, settings.log_format)
    keep_lines(logs, "server")
    runtime = RayRuntime(
        RuntimeConfig(work_dir=run_dir, logs=logs, address=settings.ray_address),
        CatalogConfig(settings.model_dirs, settings.hf_cache, settings.base_path, settings.given),
    )
    for number in _END_SIGNALS:
        signal.signal(number, _interrupt)
    telemetry: OtlpExport | None = None
    try:
        _log.info("starting")
        try:
            runtime.start()
        except Exception as error:
            raise ServerError(f"Ray did not start: {error}") from error
        telemetry = _telemetry(settings, listener)
        _run_http(listener, runtime, settings, access, [telemetry.observer] if telemetry is not None else [])
    except KeyboardInterrupt:
        pass
    finally:
        for number in _END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # it is ending
        _end_for_certain()
        _log.info("stopping")
        listener.close()
        if telemetry is not None:
            telemetry.end()
        runtime.stop()
        if telemetry is not None:
            telemetry.join()


def _access(settings: ServeSettings, api_key: str | None) -> Access:
    """The rules for this address. Raises `ServerError` where other machines could use it, or administer it, as they like."""
    is_exposed = not _leads_here_alone(settings.host)
    access = Access(AccessFile(settings.base_path), option_key=api_key, is_exposed=is_exposed)
    if is_exposed and not access.can_be_used():
        raise ServerError(
            f"Listening on {settings.host} lets other machines in, so a key is needed. Give one with --api-key or in OMLX_API_KEY, or make "
            "one: `omlx key add NAME --admin`. With 127.0.0.1, this machine alone can reach the server."
        )
    if is_exposed and not access.can_be_administered():
        raise ServerError(
            f"Listening on {settings.host} lets other machines in, so the administration needs a password: `omlx password set`, or an "
            "administrator's key: `omlx key add NAME --admin`."
        )
    return access


def _leads_here_alone(host: str) -> bool:
    """Whether no other machine can reach an address, or the addresses of a name."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(is_loopback(str(address[0])) for *_, address in found)


def _check_packages(settings: ServeSettings) -> None:
    """Say at once, before anything slow starts, that a package is missing."""
    if settings.otlp_endpoint is None:
        return
    try:
        importlib.import_module("omlx.telemetry.export")
    except ImportError as error:
        raise ServerError(
            f"otlp_endpoint needs OpenTelemetry's packages, and this one is missing: {error.name}. Install them with "
            "pip install 'omlx[otel]', or in a checkout with `make serve EXTRAS=otel`."
        ) from error


def _name_hub(settings: ServeSettings) -> None:
    """Tell the libraries of processes to come which hub to ask; they read it as they are imported."""
    if settings.hf_endpoint is not None:
        os.environ["HF_ENDPOINT"] = settings.hf_endpoint.rstrip("/")


def _telemetry(settings: ServeSettings, listener: socket.socket) -> "OtlpExport | None":
    """The export to OpenTelemetry, if it was asked for. It has threads, so Ray's processes must have been started before."""
    if settings.otlp_endpoint is None:
        return None
    from omlx.telemetry.conventions import server_attributes
    from omlx.telemetry.export import OtlpExport

    try:
        return OtlpExport(settings.otlp_endpoint, server_attributes(settings.host, listener.getsockname()[1]))
    except Exception as error:  # of what the environment says for it
        raise ServerError(f"OpenTelemetry did not start: {error}") from error


def _listen(host: str, port: int) -> socket.socket:
    """Take the address before anything slow starts, so that a busy port is said at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # TCP by name: only then does asyncio send what is written at once. Else the second part of an answer waits for the first to be
    # acknowledged, which takes 40 ms on a connection that is used again.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ServerError(
            f"Can't listen on {host}:{port}: {os.strerror(error.errno) if error.errno else error}. "
            "Is another server running there? Choose another port with --port."
        ) from error
    return listener


def _run_http(
    listener: socket.socket,
    runtime: RayRuntime,
    settings: ServeSettings,
    access: Access,
    observers: Sequence[RequestObserver],
) -> None:
    catalog = runtime.catalog()
    services = Services(catalog, runtime.engines())
    downloads = DownloadService(settings, lambda: any(stats.running for stats in services.engine_stats().values()))
    bench = Bench(services, settings.base_path / "benchmarks")

    usage = KeyUsage(settings.base_path)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await services.start()
        await usage.start()
        await downloads.start()
        _say_what_is_served(await catalog.served(), listener, settings.log_format, needs_key=access.needs_key(access.file.kept()))
        try:
            yield
        finally:
            await bench.stop()
            await downloads.stop()
            await services.stop()
            await usage.stop()

    config = uvicorn.Config(
        create_app(
            services,
            observers=[RequestLog(), *observers],
            downloads=downloads,
            access=access,
            usage=usage,
            benchmarks=bench,
            admin_hosts=settings.admin_hosts,
            roots=settings.roots,
            log_dir=settings.log_dir,
            lifespan=lifespan,
        ),
        log_config=None,
        access_log=False,
        log_level=logging.WARNING if settings.log_level != "debug" else logging.DEBUG,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        timeout_keep_alive=75,
    )
    _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Takes the first signal to end as the wish it is, and those that an impatient user adds as the same one.

    uvicorn's own skips the orderly end at the second, and raises the first again after the end.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in _END_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit = True


def _say_what_is_served(served: Sequence[Served], listener: socket.socket, log_format: str, *, needs_key: bool) -> None:
    """To people with something to type; to programs as a line like the others."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    models = [each for each in served if not each.is_hidden]
    if not models:
        _log.warning("there is no model yet: `omlx pull demo` fetches a small one")
    if log_format == "json":
        _log.info("serving", extra={"url": f"{url}/v1", "models": len(models)})
        return
    name = _example(models)
    header = " -H 'Authorization: Bearer KEY'" if needs_key else ""
    sys.stderr.write(f"""
oMLX serves {len(models)} model{"" if len(models) == 1 else "s"} on {url}/v1. Ctrl-C ends it. Type in another terminal:

  curl {url}/v1/chat/completions{header} -d '{{"model": "{name}", "stream": true,
    "messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'

or in Python, after pip install openai:

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{"KEY" if needs_key else "none"}")
  messages = [{{"role": "user", "content": "What is the capital of France?"}}]
  print(client.chat.completions.create(model="{name}", messages=messages).choices[0].message.content)

""")


def _example(models: Sequence[Served]) -> str:
    """The name of a model to chat with: the default one, else the first; the demo model's while there is none."""
    chatting = [served for served in models if served.model.type in _CHATTING]
    chosen = next((served for served in chatting if served.is_default), chatting[0] if chatting else None)
    return chosen.name if chosen is not None else "SmolLM2-135M-Instruct"


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_for_certain() -> None:
    """Whatever hangs at the end must not keep the process: its children go with it."""
    timer = threading.Timer(_END_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()
