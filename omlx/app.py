"""Puts the HTTP side together: routes, middleware, errors and metrics around the services it is given."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware

from omlx import __version__
from omlx.access.access import Access
from omlx.access.usage import KeyUsage
from omlx.admin.pages import admin_pages
from omlx.api.admin import SettingsChange, admin_routes
from omlx.api.anthropic import CountRequest, MessagesRequest
from omlx.api.benchmark_shapes import BenchmarkRequest
from omlx.api.benchmarks import benchmark_routes
from omlx.api.body import schemas
from omlx.api.chat import chat_routes
from omlx.api.completions import completion_routes
from omlx.api.download_shapes import DownloadRequest
from omlx.api.downloads import download_routes
from omlx.api.embedding_shapes import EmbeddingRequest
from omlx.api.embeddings import embedding_routes
from omlx.api.errors import HANDLERS
from omlx.api.guard import Guard
from omlx.api.health import health_routes
from omlx.api.images import ImageReader
from omlx.api.keep_alive import DEFAULT_SECONDS
from omlx.api.keys import LimitsShown, NewKey, key_routes
from omlx.api.live import live_routes
from omlx.api.logs import log_routes
from omlx.api.messages import message_routes
from omlx.api.middleware import DEFAULT_MAX_BODY_BYTES, BodyLimit, RequestId, RequestRecords, UnforeseenErrors
from omlx.api.models import model_routes
from omlx.api.openai import ChatRequest, CompletionRequest
from omlx.api.own_host import own_host
from omlx.api.ports import Benchmarks, Downloads, Services
from omlx.api.reading import Reading
from omlx.api.removal import removal_routes
from omlx.api.rerank import rerank_routes
from omlx.api.rerank_shapes import RerankRequest
from omlx.api.session import PasswordChange, SignIn, session_routes
from omlx.api.streaming import Answering
from omlx.metrics.metrics import Metrics
from omlx.metrics.routes import metrics_routes
from omlx.record import RequestObserver

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class _App(FastAPI):
    """Describes the bodies that the routes read themselves, too."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        schema["components"]["schemas"].update(
            schemas([ChatRequest, CompletionRequest, EmbeddingRequest, RerankRequest, SettingsChange, DownloadRequest])
            | schemas([MessagesRequest, CountRequest])
            | schemas([SignIn, PasswordChange, NewKey, LimitsShown, BenchmarkRequest])
        )
        return schema


def create_app(
    services: Services,
    *,
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
    keep_alive_seconds: float = DEFAULT_SECONDS,
    observers: Sequence[RequestObserver] = (),
    images: ImageReader | None = None,
    downloads: Downloads | None = None,
    benchmarks: Benchmarks | None = None,
    access: Access | None = None,
    usage: KeyUsage | None = None,
    admin_hosts: Sequence[str] = (),
    roots: Sequence[Path] = (),
    log_dir: Path | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The ASGI application.

    Args:
        services: Models and what they say.
        max_body_bytes: The largest body of a request that is taken.
        keep_alive_seconds: After how long without an event a stream says that it lives.
        observers: Who is told of every request, besides the metrics.
        images: Who reads the pictures of conversations.
        downloads: Who fetches models; without it, there are no routes for that.
        benchmarks: Who measures models; the same.
        access: Who may use models and administer the server; without it, everybody may.
        usage: Who counts what each key has; goes with `access`.
        admin_hosts: Host names by which administration may be called, besides this machine's own.
        roots: The folders that models are looked for in, which stay when models in them are removed.
        log_dir: Where the log files are; without it, there are no routes for them, and no problems of theirs are shown.
        lifespan: What to run around serving.
    """
    metrics = Metrics(services.engine_stats)
    services.observe(metrics.engines)
    app = _App(
        title="oMLX",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers=dict(HANDLERS),
        middleware=[
            Middleware(RequestId),
            Middleware(RequestRecords, observers=[metrics.requests, *observers]),
            Middleware(UnforeseenErrors),
            *([Middleware(Guard, access=access, usage=usage)] if access is not None and usage is not None else []),
            Middleware(BodyLimit, max_bytes=max_body_bytes),
        ],
    )
    answering = Answering(services, metrics.requests, keep_alive_seconds)
    images = images or ImageReader()
    app.include_router(chat_routes(answering, images))
    app.include_router(message_routes(answering, services, images))
    app.include_router(completion_routes(answering))
    reading = Reading(services, metrics.requests)
    app.include_router(embedding_routes(reading))
    app.include_router(rerank_routes(reading))
    app.include_router(model_routes(services))
    guard = own_host(admin_hosts)
    administration = APIRouter(dependencies=[Depends(guard)])
    administration.include_router(admin_routes(services))
    administration.include_router(live_routes(services, metrics.requests, log_dir))
    if downloads is not None:
        administration.include_router(download_routes(downloads))
    if benchmarks is not None:
        administration.include_router(benchmark_routes(services, benchmarks))
    administration.include_router(removal_routes(services, roots))
    if access is not None and usage is not None:
        administration.include_router(session_routes(access))
        administration.include_router(key_routes(access, usage))
    if log_dir is not None:
        administration.include_router(log_routes(log_dir))
    app.include_router(administration)
    app.include_router(admin_pages(guard))
    app.include_router(health_routes(services))
    app.include_router(metrics_routes(metrics, services.catalog))
    return app
