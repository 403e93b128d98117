"""`/admin/api/benchmarks`: models are measured, and what was measured is shown."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from actors.errors import WrongModelTypeError
from omlx.api.benchmark_shapes import BenchmarkRequest, BenchmarksShown, RunShown
from omlx.api.body import documented, read_body
from omlx.api.capabilities import endpoint_for
from omlx.api.openai import ErrorResponse
from omlx.api.ports import Benchmarks, Services
from omlx.api.same_origin import same_origin
from omlx.api.sse import EventStream, changes


def benchmark_routes(services: Services, benchmarks: Benchmarks) -> APIRouter:
    """The routes, given who finds models and who measures them."""
    router = APIRouter(
        prefix="/admin/api/benchmarks",
        tags=["Benchmarks"],
        responses={"default": {"model": ErrorResponse, "description": "An error"}},
        dependencies=[Depends(same_origin)],
    )

    @router.post("", status_code=HTTPStatus.ACCEPTED, **documented(BenchmarkRequest, RunShown))
    async def begin(http: Request) -> RunShown:
        """Measure a model, which is loaded first if need be."""
        asked = await read_body(http, BenchmarkRequest)
        served = await services.find(asked.model)
        kind = served.model.type
        if kind.encodes:
            raise WrongModelTypeError(served.name, kind, "a benchmark of generation", endpoint_for(kind))
        return RunShown.model_validate(await benchmarks.begin(served, asked.model_dump(exclude={"model"})))

    @router.get("")
    async def show_runs() -> BenchmarksShown:
        """The run that goes on, and all that are kept, the newest first."""
        return BenchmarksShown.model_validate(await benchmarks.state())

    @router.get("/events", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
    async def watch_runs() -> Response:
        """The same as server-sent events: now, and whenever something has changed."""
        events = changes(_shown(benchmarks.watch()))
        return EventStream(await anext(events), events)

    @router.get("/{run_id}")
    async def show_run(run_id: str) -> RunShown:
        """One run with all its figures."""
        return RunShown.model_validate(await benchmarks.run(run_id))

    @router.post("/{run_id}/cancel")
    async def cancel_run(run_id: str) -> RunShown:
        """End a run; what it has measured by then is kept."""
        return RunShown.model_validate(await benchmarks.cancel(run_id))

    @router.delete("/{run_id}")
    async def remove_run(run_id: str) -> BenchmarksShown:
        """Delete a run that has ended; those that are left."""
        await benchmarks.remove(run_id)
        return BenchmarksShown.model_validate(await benchmarks.state())

    return router


async def _shown(states: AsyncGenerator[Mapping[str, Any], None]) -> AsyncGenerator[Mapping[str, Any], None]:
    async with aclosing(states):
        async for state in states:
            yield BenchmarksShown.model_validate(state).model_dump()
