"""The thread that steps a model which generates, while there is work."""

from collections.abc import Callable
from dataclasses import dataclass

from actors.engine.backend import Backend
from actors.engine.model_thread import Loading, ModelThread, Stop
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


class StepThread(ModelThread):
    """Runs `EngineCore` on its own thread.

    Args:
        load: Loads the model, and says within which bounds it is to be stepped.
        loading: Who is told what becomes of the model.
        stepped: Called with one step's events and the numbers after it, on the thread itself.
    """

    def __init__(
        self,
        load: Callable[[], tuple[Backend, SchedulerConfig]],
        loading: Loading[Backend],
        stepped: Callable[[tuple[TokenEvent, ...], SchedulerStats], None],
    ) -> None:
        super().__init__("omlx-step", loading)
        self._load_model = load
        self._stepped = stepped

    def _load(self) -> Callable[[], None]:
        backend, config = self._load_model()
        self._loading.loaded(backend)
        return lambda: self._step_until_stopped(EngineCore(backend.runner, config))

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
            self._stepped(output.events, core.stats)
            if not core.has_work:
                core.check_integrity()
