"""One embedding model's or reranker's engine: requests that arrive together share its forwards. A plain class, free of Ray."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import monotonic

from actors.contracts import EmbedJob, EngineSpec, Job, RerankJob, Scores, Vectors
from actors.engine.base import EngineBase
from actors.engine.encode_thread import AddRows, DropRows, Encoded, EncodeThread
from actors.engine.encoder_backend import EncoderBackend, LoadEncoder, Row
from actors.engine.model_thread import Loading
from actors.errors import EngineError, InvalidJobError
from actors.models import ModelType
from scheduler.stats import SchedulerStats

_READ_AT_ONCE = 64  # texts that the tokenizer takes before it is another request's turn
_NUMBER_BYTES = 4


@dataclass(slots=True)
class _Work:
    """A request that has not ended.

    Attributes:
        key: What the thread calls it: other than its id, which somebody may use again.
        data: What each row gave, as far as it has been computed.
        left: Rows that have not been.
        done: The data, once it is all there.
    """

    key: str
    data: list[bytes]
    left: int
    done: asyncio.Future[list[bytes]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: Exception) -> None:
        """Let whoever waits have an error."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # it may be that nobody waits yet, and something else ends it first


class EncoderEngine(EngineBase[EncoderBackend]):
    """See `actors.contracts.EngineClient`. Of its options, `max_concurrent_requests` counts only for how many may be here at once.

    Args:
        spec: Who it is and what it serves.
        load_encoder: Loads the model; called on the thread that will compute.
        on_broken: Called once when the engine can't go on: its requests have been told, and its streams are ending.
    """

    def __init__(self, spec: EngineSpec, load_encoder: LoadEncoder, on_broken: Callable[[str], None]) -> None:
        super().__init__(spec, on_broken)
        self._load_encoder = load_encoder
        self._works: dict[str, _Work] = {}  # by their requests' ids
        self._computed: dict[str, _Work] = {}  # those that the thread has, by their keys
        self._keys = count()

    async def embed(self, job: EmbedJob) -> Vectors:
        """Embed texts; see `actors.contracts.EngineClient`."""
        self._check_type(ModelType.EMBEDDING, "doesn't embed")
        data, tokens = await self._encode(job, len(job.inputs), job.param)
        return Vectors(b"".join(data), len(data[0]) // _NUMBER_BYTES, tokens)

    async def rerank(self, job: RerankJob) -> Scores:
        """Judge documents; see `actors.contracts.EngineClient`."""
        self._check_type(ModelType.RERANKER, "doesn't rerank")
        data, tokens = await self._encode(job, len(job.documents), "documents")
        return Scores(struct.unpack(f"<{len(data)}f", b"".join(data)), tokens)

    async def submit(self, _consumer: str, _job: Job) -> int:
        """Refused: nothing is generated here."""
        raise self._wrong("generates no text")

    async def count(self, _job: Job) -> int:
        """Refused too."""
        raise self._wrong("generates no text")

    async def abort(self, request_ids: Sequence[str]) -> None:
        """End requests that are here; whoever waits for them gets `InvalidJobError`."""
        for request_id in request_ids:
            work = self._works.get(request_id)
            if work is not None:
                work.fail(InvalidJobError(f"request {request_id!r} was aborted"))

    def _check_type(self, wanted: ModelType, what: str) -> None:
        if self.spec.model.type is not wanted:
            raise self._wrong(what)

    def _wrong(self, what: str) -> InvalidJobError:
        model = self.spec.model
        return InvalidJobError(f"'{model.model_id}' is of type {model.type}, which {what}.", "model")

    async def _encode(self, job: EmbedJob | RerankJob, texts: int, param: str) -> tuple[list[bytes], int]:
        """What the model gives for each of a job's texts, and their tokens."""
        if not texts:
            raise InvalidJobError(f"'{param}' is empty.", param)
        if job.request_id in self._works:
            raise InvalidJobError(f"request {job.request_id!r} is already here")
        self._check_open()
        self._check_room()
        work = self._works[job.request_id] = _Work(str(next(self._keys)), [b""] * texts, texts)
        self._occupancy.begin()
        try:
            backend = await self._model()
            rows = await self._read(backend, job, work)
            self._check_unbroken()
            self._computed[work.key] = work
            self._encode_thread.put(AddRows(work.key, rows))
            return await work.done, sum(len(row.tokens) for row in rows)
        finally:
            del self._works[job.request_id]
            self._occupancy.end()
            self._bound.ended(monotonic())
            if self._computed.pop(work.key, None) is not None and work.left:
                self._encode_thread.put(DropRows(work.key))

    async def _read(self, backend: EncoderBackend, job: EmbedJob | RerankJob, work: _Work) -> list[Row]:
        loop = asyncio.get_running_loop()
        rows: list[Row] = []
        for start in range(0, work.left, _READ_AT_ONCE):
            stop = min(start + _READ_AT_ONCE, work.left)
            rows += await loop.run_in_executor(self._encoder, backend.encoder.read, job, start, stop)
            if work.done.done():
                await work.done  # it was aborted
        return rows

    @property
    def _encode_thread(self) -> EncodeThread:
        assert isinstance(self._thread, EncodeThread)
        return self._thread

    def _new_thread(self, loading: Loading[EncoderBackend]) -> EncodeThread:
        loop = asyncio.get_running_loop()

        def encoded(results: tuple[Encoded, ...], stats: SchedulerStats) -> None:
            loop.call_soon_threadsafe(self._on_encoded, results, stats)

        return EncodeThread(lambda: self._load_encoder(self.spec.model, self.spec.options), loading, encoded)

    def _on_encoded(self, results: tuple[Encoded, ...], stats: SchedulerStats) -> None:
        self._stats = stats
        for result in results:
            work = self._computed.get(result.request_id)
            if work is None:
                continue  # whoever asked has gone
            work.data[result.index] = result.data
            work.left -= 1
            if not work.left and not work.done.done():
                work.done.set_result(work.data)
        self._send()

    def _held(self) -> int:
        return len(self._works)

    async def _abandon(self, consumer: str) -> None:
        """Nothing: requests are answered by their own calls."""

    def _fail_all(self, error: EngineError) -> None:
        for work in self._works.values():
            work.fail(error)
