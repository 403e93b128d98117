"""Who measures: one run at a time, shown while it goes on and kept when it has ended."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.control import Served
from actors.errors import InvalidJobError, OmlxError, QueueFullError
from omlx import __version__
from omlx.api.ports import Services
from omlx.benchmark.errors import BenchmarkRunningError, SizeError, UnknownRunError
from omlx.benchmark.machine import machine_card
from omlx.benchmark.meter import Meter
from omlx.benchmark.plan import Plan
from omlx.benchmark.run import Cell, Progress, Run, State
from omlx.benchmark.runs import MOST, Runs, new_id

_log = logging.getLogger(__name__)


class Bench:
    """See `omlx.api.ports.Benchmarks`. Belongs to one event loop.

    Args:
        services: Who answers.
        folder: Where runs are kept.
        clock: Seconds that go on steadily.
        most: How many runs are kept.
    """

    def __init__(self, services: Services, folder: Path, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._services = services
        self._files = Runs(folder, most)
        self._most = most
        self._clock = clock
        self._kept: dict[str, Run] | None = None
        self._present: Run | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None  # waits for that, and keeps what it gave
        self._news = asyncio.Event()  # set and replaced whenever something has changed

    async def stop(self) -> None:
        """End the run there is, and keep what it has measured."""
        await self._end_present()

    async def begin(self, served: Served, plan: Mapping[str, Any]) -> dict[str, Any]:
        await self._runs()
        if self._present is not None:
            raise BenchmarkRunningError
        model = served.model
        wanted = Plan(**plan)
        now = time.time()
        self._present = Run(
            run_id=new_id(now),
            state=State.RUNNING,
            model={
                "id": model.model_id,
                **{name: getattr(model, name) for name in ("revision", "quantization", "architecture", "size_bytes")},
            },
            plan=wanted,
            started=now,
            progress=Progress(0, wanted.total),
        )
        self._tell()
        document = self._present.document()
        self._measuring = asyncio.create_task(self._measure(served, wanted))
        self._ending = asyncio.create_task(self._end(self._measuring))
        return document

    async def run(self, run_id: str) -> dict[str, Any]:
        if self._present is not None and self._present.run_id == run_id:
            return self._present.document()
        return (await self._found(run_id)).document()

    async def cancel(self, run_id: str) -> dict[str, Any]:
        if self._present is not None and self._present.run_id == run_id:
            await self._end_present()
        return (await self._found(run_id)).document()

    async def remove(self, run_id: str) -> None:
        if self._present is not None and self._present.run_id == run_id:
            raise BenchmarkRunningError
        await self._found(run_id)
        await asyncio.to_thread(self._files.remove, run_id)
        (await self._runs()).pop(run_id, None)
        self._tell()

    async def state(self) -> dict[str, Any]:
        kept = await self._runs()
        present = self._present
        runs = [*([present] if present is not None else []), *kept.values()]
        return {"running": None if present is None else present.document(), "runs": [_summary(run) for run in runs]}

    async def watch(self) -> AsyncGenerator[dict[str, Any], None]:
        """See `omlx.api.ports.Benchmarks`."""
        while True:
            news = self._news
            yield await self.state()
            await news.wait()

    async def _end(self, measuring: asyncio.Task[None]) -> None:
        """Wait for the end of the measurement, whatever it is, and keep what there is."""
        await asyncio.wait([measuring])
        state, error = _outcome(measuring)
        assert self._present is not None
        run = replace(self._present, state=state, error=error, progress=None, ended=time.time())
        try:
            await asyncio.to_thread(self._files.keep, run)
        except OSError as failure:
            _log.warning("the benchmark can't be kept: %s", failure)
        kept = {run.run_id: run, **await self._runs()}
        self._kept = dict(list(kept.items())[: self._most])
        self._present = None
        self._tell()

    async def _measure(self, served: Served, plan: Plan) -> None:
        meter = Meter(self._services, served, plan.output_tokens, self._clock)
        done, total = 0, plan.total
        # Before anything is measured, so that the load is that of others.
        card = await asyncio.to_thread(machine_card)
        await meter.prepare()
        self._show(machine={**card, "omlx": __version__, "device": await self._device(served)})
        began = self._clock()
        for size in plan.sizes():
            cell = None
            measured = []
            for repetition in range(plan.repetitions + 1):
                left = (self._clock() - began) * (total - done) / done if done else None
                self._show(progress=Progress(done, total, size, repetition, left))
                try:
                    figures = await meter.measure(size)
                except (SizeError, InvalidJobError, QueueFullError) as error:
                    cell = Cell(size, error=str(error))
                    total -= (plan.repetitions + 1 - repetition) * plan.cost(size)
                    break
                finally:
                    self._show(other_requests=meter.other_requests)
                done += plan.cost(size)
                if repetition:
                    measured.append(figures)
            self._add(cell or Cell.of(size, measured))

    async def _device(self, served: Served) -> str | None:
        """What the model's engine computes on, as it says itself."""
        models = (await self._services.catalog.status()).models
        engines = (engine.info for model in models if model.served.model_id == served.model_id for engine in model.engines)
        return next((info.device for info in engines if info is not None), None)

    def _add(self, cell: Cell) -> None:
        assert self._present is not None
        self._show(cells=(*self._present.cells, cell))

    def _show(self, **changes: Any) -> None:
        assert self._present is not None
        self._present = replace(self._present, **changes)
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _runs(self) -> dict[str, Run]:
        if self._kept is None:
            found = await asyncio.to_thread(self._files.read)
            if self._kept is None:  # else somebody else was quicker
                self._kept = found
        return self._kept

    async def _found(self, run_id: str) -> Run:
        """A run that has ended. Raises `UnknownRunError`."""
        run = (await self._runs()).get(run_id)
        if run is None:
            raise UnknownRunError(run_id)
        return run

    async def _end_present(self) -> None:
        if self._measuring is not None and self._ending is not None:
            self._measuring.cancel()
            await asyncio.wait([self._ending])


def _outcome(measuring: asyncio.Task[None]) -> tuple[State, str | None]:
    """What a measurement that is over has come to, and why if it failed."""
    if measuring.cancelled():
        return State.CANCELLED, None
    failure = measuring.exception()
    if failure is None:
        return State.DONE, None
    if isinstance(failure, OmlxError):
        return State.FAILED, str(failure)
    _log.error("the benchmark failed", exc_info=failure)
    return State.FAILED, f"The server failed in a way it did not foresee: {failure!r}. Its log says more."


def _summary(run: Run) -> dict[str, Any]:
    """What a list says of a run."""
    document = run.document()
    return {name: document[name] for name in ("id", "state", "model", "started", "ended", "error", "other_requests")}
