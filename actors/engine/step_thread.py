"""The one thread that touches the model: it loads it, and steps it while there is work."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from actors.engine.backend import Backend
from scheduler.core import EngineCore
from scheduler.request import Request
from scheduler.scheduler import SchedulerConfig
from scheduler.stats import SchedulerStats
from scheduler.step import TokenEvent


@dataclass(frozen=True, slots=True)
class Add:
    """Queue a request, or several of one prompt."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Abort:
    """End requests."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resize:
    """Let so many sequences be in the batch."""

    max_num_seqs: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the thread."""


Command = Add | Abort | Resize | Stop


@dataclass(frozen=True, slots=True)
class StepCallbacks:
    """Whom the thread tells what; called on the thread itself.

    Attributes:
        loaded: The model is there.
        load_failed: It isn't, and the thread ends.
        stepped: One step's events and the numbers after it.
        broke: A step raised, and the thread ends; the model's state can't be trusted any more.
    """

    loaded: Callable[[Backend], None]
    load_failed: Callable[[Exception], None]
    stepped: Callable[[tuple[TokenEvent, ...], SchedulerStats], None]
    broke: Callable[[Exception], None]


class StepThread(threading.Thread):
    """Runs `EngineCore` on its own thread: commands in by a queue, events out by callbacks."""

    def __init__(self, load: Callable[[], tuple[Backend, SchedulerConfig]], callbacks: StepCallbacks) -> None:
        super().__init__(name="omlx-step", daemon=True)
        self._load = load
        self._callbacks = callbacks
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()

    def put(self, command: Command) -> None:
        """Hand the thread a command, to be obeyed before its next step. May be called from any thread."""
        self._inbox.put(command)

    def run(self) -> None:
        """Load, then step until told to stop."""
        try:
            backend, config = self._load()
        except Exception as error:
            self._callbacks.load_failed(error)
            return
        self._callbacks.loaded(backend)
        try:
            self._step_until_stopped(EngineCore(backend.runner, config))
        except Exception as error:
            self._callbacks.broke(error)

    def _step_until_stopped(self, core: EngineCore) -> None:
        while True:
            for command in self._commands(wait=not core.has_work):
                match command:
                    case Add(requests):
                        core.add(*requests)
                    case Abort(request_ids):
                        for request_id in request_ids:
                            core.abort(request_id)
                    case Resize(max_num_seqs):
                        core.resize(max_num_seqs)
                    case Stop():
                        return
            output = core.step()
            self._callbacks.stepped(output.events, core.stats)
            if not core.has_work:
                core.check_integrity()

    def _commands(self, *, wait: bool) -> Iterator[Command]:
        """What has been handed in; waits for the first when there is nothing else to do."""
        if wait:
            yield self._inbox.get()
        while not self._inbox.empty():
            yield self._inbox.get()
