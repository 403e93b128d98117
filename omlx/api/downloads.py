"""`/admin/api/hf` and `/admin/api/ms`: models are looked for and fetched."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from omlx.api.body import documented, queried, read_body, read_options
from omlx.api.download_shapes import (
    CardShown,
    DownloadRequest,
    ModelOptions,
    SearchOptions,
    SearchShown,
    TaskShown,
    TasksShown,
)
from omlx.api.openai import ErrorResponse
from omlx.api.ports import Downloads
from omlx.api.same_origin import same_origin
from omlx.api.sse import EventStream, changes

_SOURCES = {"hf": "hf", "ms": "modelscope"}
_CHANGES = {
    "pause": "Let a download rest; what has come is kept.",
    "cancel": "Give a download up, and delete what has come.",
    "retry": "Go on with a download that rests, failed or was cancelled.",
}


def download_routes(downloads: Downloads) -> APIRouter:
    """The routes of every place that models come from, given who fetches them."""
    router = APIRouter()
    for place, source in _SOURCES.items():
        router.include_router(_routes(downloads, place, source))
    return router


def _routes(downloads: Downloads, place: str, source: str) -> APIRouter:
    router = APIRouter(
        prefix=f"/admin/api/{place}",
        tags=["Downloads"],
        responses={"default": {"model": ErrorResponse, "description": "An error"}},
        dependencies=[Depends(same_origin)],
    )

    @router.get("/search", openapi_extra=queried(SearchOptions))
    async def search(http: Request) -> SearchShown:
        """Models that have to do with some words."""
        asked = await read_options(http, SearchOptions)
        found = await downloads.search(source, asked.q, sort=asked.sort, limit=asked.limit, only_mlx=asked.only_mlx)
        return SearchShown.model_validate(found)

    @router.get("/model-info", openapi_extra=queried(ModelOptions))
    async def show_model(http: Request) -> CardShown:
        """What the place says of one model: files, sizes, memory, licence, README."""
        asked = await read_options(http, ModelOptions)
        return CardShown.model_validate(await downloads.card(source, asked.model, asked.revision))

    @router.post("/download", status_code=HTTPStatus.ACCEPTED, **documented(DownloadRequest, TaskShown))
    async def download(http: Request) -> TaskShown:
        """Fetch a model as soon as it has its turn; what is fetched already goes on."""
        asked = await read_body(http, DownloadRequest)
        wish = {"repository": asked.model, "name": asked.name or asked.model.rpartition("/")[2], "revision": asked.revision}
        task = await downloads.add(source, {**wish, "allow": list(asked.allow), "ignore": list(asked.ignore)})
        return TaskShown.model_validate(task)

    @router.get("/tasks")
    async def show_tasks() -> TasksShown:
        """All downloads from here, the oldest first."""
        return TasksShown.model_validate({"tasks": await downloads.tasks(source)})

    @router.get("/events", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
    async def watch_tasks() -> Response:
        """All downloads from here, as server-sent events: now, and whenever one has changed."""
        events = changes(_shown(downloads.watch(source)))
        return EventStream(await anext(events), events)

    for verb, doc in _CHANGES.items():
        router.add_api_route(f"/{verb}/{{task_id}}", _changing(downloads, verb), methods=["POST"], description=doc, summary=doc)

    @router.delete("/tasks/{task_id}")
    async def forget_task(task_id: str) -> TaskShown:
        """Drop a download from the list; unless it is done, it is given up first."""
        return TaskShown.model_validate(await downloads.change(task_id, "forget"))

    return router


def _changing(downloads: Downloads, verb: str) -> Any:
    async def change_task(task_id: str) -> TaskShown:
        return TaskShown.model_validate(await downloads.change(task_id, verb))

    return change_task


async def _shown(tasks: AsyncGenerator[Sequence[Mapping[str, Any]], None]) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(tasks):
        async for each in tasks:
            yield TasksShown.model_validate({"tasks": each}).model_dump()
