"""The thread that has an encoder: all that wait when it is free go together, as far as their lengths allow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from actors.engine.encoder_backend import Encoder, EncoderBackend, Row
from actors.engine.model_thread import Loading, ModelThread, Stop
from scheduler.encoding import EncodingQueue, Name
from scheduler.pace import StepPacer
from scheduler.stats import SchedulerStats

_FORWARD_SECONDS = 0.5  # that one forward may take, so that those who come meanwhile are soon heard
_MOST_TOKENS = 16_384  # of a forward, however fast


@dataclass(frozen=True, slots=True)
class AddRows:
    """Encode a request's rows."""

    request_id: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class DropRows:
    """Forget a request's rows that have not been encoded."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row's numbers, as float32."""

    request_id: str
    index: int
    data: bytes


class EncodeThread(ModelThread):
    """Encodes what waits, forward by forward.

    Args:
        load: Loads the model.
        loading: Who is told what becomes of the model.
        encoded: Called with one forward's rows and the numbers after it, on the thread itself.
    """

    def __init__(
        self,
        load: Callable[[], EncoderBackend],
        loading: Loading[EncoderBackend],
        encoded: Callable[[tuple[Encoded, ...], SchedulerStats], None],
    ) -> None:
        super().__init__("omlx-encoder", loading)
        self._load_model = load
        self._encoded = encoded
        self._rows: dict[str, Sequence[Row]] = {}  # of requests that have not ended
        self._left: dict[str, int] = {}  # how many of them have not been encoded
        self._queue = EncodingQueue()
        self._pacer = StepPacer(_FORWARD_SECONDS, _MOST_TOKENS)
        self._steps = 0
        self._tokens = 0
        self._seconds = 0.0

    def _load(self) -> Callable[[], None]:
        backend = self._load_model()
        self._loading.loaded(backend)
        return lambda: self._encode_until_stopped(backend.encoder)

    def _encode_until_stopped(self, encoder: Encoder) -> None:
        names = self._next(wait=True)
        while names is not None:
            results = self._encode(encoder, names)
            names = self._next(wait=False)
            self._encoded(results, self._stats(running=len(names or ())))
            if names == ():
                names = self._next(wait=True)

    def _next(self, *, wait: bool) -> tuple[Name, ...] | None:
        """What is to be encoded now, if anything is; with `wait`, once there is something. None when there is no more to come."""
        while True:
            for command in self._commands(wait=wait and not len(self._queue)):
                match command:
                    case AddRows(request_id, rows):
                        self._queue.add(request_id, [len(row.tokens) for row in rows])
                        self._rows[request_id] = rows
                        self._left[request_id] = len(rows)
                    case DropRows(request_id):
                        self._queue.drop(request_id)
                        self._forget(request_id)
                    case Stop():
                        return None
            if len(self._queue):
                return self._queue.take(self._pacer.budget(0))
            if not wait:
                return ()

    def _encode(self, encoder: Encoder, names: tuple[Name, ...]) -> tuple[Encoded, ...]:
        rows = [self._rows[request_id][index] for request_id, index in names]
        began = perf_counter()
        data = encoder.encode(rows)
        seconds = perf_counter() - began
        lengths = [len(row.tokens) for row in rows]
        self._pacer.observe(seconds, rows=0, prompt_tokens=len(rows) * max(lengths))
        self._steps += 1
        self._tokens += sum(lengths)
        self._seconds += seconds
        for request_id, _ in names:
            self._left[request_id] -= 1
            if not self._left[request_id]:
                self._forget(request_id)
        return tuple(Encoded(*name, each) for name, each in zip(names, data, strict=True))

    def _forget(self, request_id: str) -> None:
        self._rows.pop(request_id, None)
        self._left.pop(request_id, None)

    def _stats(self, running: int) -> SchedulerStats:
        return SchedulerStats(
            running=running,
            waiting=len(self._queue),
            steps=self._steps,
            prompt_tokens=self._tokens,
            forward_seconds=self._seconds,
        )
