"""What clients leave behind that come, go and drop: nothing, if all is well.

    python -m benchmarks.soak [MODEL_FOLDER] [--seconds 120] [--clients 200] [--save]

A server with a small random model (or the one named) is asked by many clients at once. Each comes again and again with another
wish: streams, whole answers, several choices, a time limit, a stop text, nonsense. Many leave before the first token or in the
middle. There are fewer places than clients, so that many are turned away and come again when they were told to.

After a first round, and again after the long one, all is quiet, and what the server holds is read: requests, KV, tasks, open
files, threads, memory. Then as many streams are opened as there are places, and one more, which must be the only one that is
turned away: no place is still taken by somebody who has left. What is more than before, or a wrong answer, makes the exit code 1.
Linux only: processes are looked at in /proc.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson

from benchmarks.report import finish, new_document, table
from benchmarks.server import Server, demo_model_dir, running_server
from omlx.benchmark.prose import Writer

BATCH, QUEUE = 16, 48  # places
KV_BYTES = 2 << 20  # so little for the random model that requests are preempted and kept KV is evicted
OPTIONS = (
    *("--max-concurrent-requests", str(BATCH)),
    *("--max-queued-requests", str(QUEUE)),
    *("--kv-cache-max-bytes", str(KV_BYTES)),
)
WARM_SHARE = 0.25  # of the long round's seconds: what the first one takes
# What a process may have more than after the first round. Its allocator keeps some of what was freed (2 to 5 MB were measured),
# and Ray opens a connection or a thread now and then. In two minutes on two cores some 2,500 visits are not turned away: 10 KB
# left by each of them are seen.
MORE_BYTES = 24 << 20
MORE_FILES = 4
MORE_THREADS = 4
_IDLE_SECONDS = 20  # after which a server that is still busy is left in peace
_PATIENCE = 100.0  # seconds that a client who stays waits for an answer
_BEGINNINGS = 4  # that prompts have in common at times


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, and how its client behaves.

    Attributes:
        kind: What it is counted as.
        content: The request's body.
        status: What it should be answered with, if it isn't turned away.
        events: Server-sent events after which the client leaves; None for one who stays.
        seconds: After which it leaves.
        may_time_out: Whether its own time limit may end it.
        choices: Answers that it asks for.
        is_stream: Whether it asks for a stream.
    """

    kind: str
    content: bytes
    status: int = 200
    events: int | None = None
    seconds: float | None = None
    may_time_out: bool = False
    choices: int = 1
    is_stream: bool = False


@dataclass(slots=True)
class Reply:
    """What came back.

    Attributes:
        data: Every byte, the head included.
        left: Whether the client left before the end.
    """

    data: bytearray = field(default_factory=bytearray)
    left: bool = False

    @property
    def status(self) -> int:
        """The HTTP status; 0 where there is none."""
        parts = bytes(self.data[:16]).split()
        return int(parts[1]) if len(parts) > 1 else 0

    @property
    def retry_after(self) -> int:
        """The seconds to wait before trying again; 0 where the answer has none."""
        found = re.search(rb"\r\nretry-after: (\d+)\r\n", self.data)
        return int(found[1]) if found else 0

    @property
    def body(self) -> bytes:
        """The body, chunked or not."""
        head, _, rest = bytes(self.data).partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" not in head.lower():
            return rest
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            count = int(size or b"0", 16)
            body, rest = body + rest[:count], rest[count + 2 :]
        return body


@dataclass(slots=True)
class Tally:
    """What became of the visits.

    Attributes:
        outcomes: By kind: how many ended, left, were turned away, or timed out.
        wrong: What should not have happened, in words.
        clients: Who came at least once.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    clients: set[int] = field(default_factory=set)

    def add(self, client: int, visit: Visit, reply: Reply) -> None:
        """Count a visit."""
        outcome, wrong = judge(visit, reply)
        self.outcomes.setdefault(visit.kind, Counter())[outcome] += 1
        if wrong:
            self.wrong.append(f"{visit.kind}: {wrong}: {bytes(reply.data[-300:])!r}")
        self.clients.add(client)


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds."""

    bytes: int
    files: int
    threads: int

    @classmethod
    def by(cls, pid: int) -> "Held":
        """Read it in /proc."""
        folder = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return cls(int(status["VmRSS"].split()[0]) * 1024, sum(1 for _ in (folder / "fd").iterdir()), int(status["Threads"]))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a quiet server holds.

    Attributes:
        in_flight: HTTP requests, without the one that asks.
    """

    running: int
    waiting: int
    kv_bytes: int
    prefix_bytes: int
    in_flight: int
    tasks: int
    preemptions: int
    prefix_hits: int
    server: Held
    engine: Held

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is going on."""
        return not (self.running or self.waiting or self.kv_bytes or self.in_flight)


def judge(visit: Visit, reply: Reply) -> tuple[str, str | None]:
    """What became of a visit, and what is wrong with that, if anything is."""
    if reply.left:
        return "left", None if visit.events or visit.seconds else "it did not get its answer"
    if reply.status == 429:
        return "refused", None if reply.retry_after else "it was not told when to come back"
    timed_out = b'"request_timeout"' in reply.body
    if timed_out and visit.may_time_out:
        return "timed out", None if reply.status == (200 if b"data: " in reply.body else 504) else "with another status"
    if reply.status != visit.status:
        return "ended", f"its status is {reply.status}"
    if visit.status != 200:
        return "ended", None if b'"error"' in reply.body else "it was not told why"
    if visit.is_stream:
        return "ended", None if reply.body.endswith(b"data: [DONE]\n\n") else "the stream has no end"
    try:
        answer = json.loads(reply.body)
    except ValueError:
        return "ended", "its answer is no JSON"
    return "ended", None if len(answer["choices"]) == visit.choices else "choices are missing"


class Wishes:
    """What clients ask for.

    Args:
        model: The model's name.
        random: Where choices come from.
    """

    def __init__(self, model: str, random: Random) -> None:
        self._model = model
        self._random = random
        self._writer = Writer(lambda text: len(text.split()), random)
        shared = Writer(lambda text: len(text.split()), Random(0))
        self._beginnings = [shared.prose(120) for _ in range(_BEGINNINGS)]
        self._kinds: Sequence[Callable[[], Visit]] = (
            *(self._stream, self._whole, self._leaves_at_once, self._leaves_in_the_middle),
            *(self._leaves_whole, self._choices, self._limited, self._stopped, self._nonsense),
        )

    def next(self) -> Visit:
        """The next visit."""
        return self._random.choice(self._kinds)()

    def long_stream(self) -> Visit:
        """One that takes a place for as long as its client stays."""
        return Visit("holds a place", self._body(stream=True, max_tokens=2000, ignore_eos=True), is_stream=True)

    def _stream(self) -> Visit:
        return Visit("stream", self._body(stream=True), is_stream=True)

    def _whole(self) -> Visit:
        return Visit("whole", self._body())

    def _leaves_at_once(self) -> Visit:
        seconds = self._random.choice((0.001, 0.003, 0.01, 0.03))
        return Visit("leaves at once", self._body(stream=self._random.random() < 0.5), seconds=seconds)

    def _leaves_in_the_middle(self) -> Visit:
        return Visit("leaves a stream", self._body(stream=True), events=self._random.randint(1, 40), is_stream=True)

    def _leaves_whole(self) -> Visit:
        return Visit("leaves an answer", self._body(), seconds=self._random.uniform(0.05, 0.8))

    def _choices(self) -> Visit:
        choices = self._random.randint(2, 3)
        stream = self._random.random() < 0.5
        events = self._random.choice((None, self._random.randint(1, 40))) if stream else None
        return Visit("several choices", self._body(stream=stream, n=choices), events=events, choices=choices, is_stream=stream)

    def _limited(self) -> Visit:
        stream = self._random.random() < 0.5
        content = self._body(stream=stream, timeout=self._random.uniform(0.02, 1.0))
        return Visit("time limit", content, may_time_out=True, is_stream=stream)

    def _stopped(self) -> Visit:
        return Visit("stop text", self._body(stop=[self._random.choice("aeiou"), "the"]))

    def _nonsense(self) -> Visit:
        bodies: Mapping[bytes, int] = {
            b"{not JSON": 400,
            b"": 400,
            b"[]": 400,
            self._body(messages=[]): 400,
            self._body(temperature="warm"): 400,
            self._body(model="unheard-of"): 404,
            self._body(logit_bias={"99999999": 1}): 400,
            self._body(messages=[{"role": "user", "content": "word " * 20_000}]): 400,
        }
        content, status = self._random.choice(list(bodies.items()))
        return Visit("nonsense", content, status)

    def _body(self, **changes: Any) -> bytes:
        pick = self._random.random
        beginning = f"{self._random.choice(self._beginnings)} " if pick() < 0.5 else ""
        text = beginning + self._writer.prose(self._random.randint(5, 120))
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self._random.randint(1, 100),
            "temperature": self._random.choice((0, 1)),
        }
        return orjson.dumps(body | changes)


async def pay(port: int, visit: Visit) -> Reply:
    """Pay a visit; a server that can't be reached is a reply without a status."""
    reply = Reply()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return reply
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(visit.content)}\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(visit.seconds or _PATIENCE):
            writer.write(head.encode() + visit.content)
            while data := await reader.read(1 << 16):
                reply.data += data
                if visit.events and reply.data.count(b"data: ") >= visit.events:
                    reply.left = True
                    break
    except TimeoutError:
        reply.left = True
    except OSError:
        pass  # the server closed the connection; what came before that is judged
    finally:
        writer.transport.abort()
    return reply


async def client(number: int, port: int, wishes: Wishes, ends: float, tally: Tally) -> None:
    """Come again and again, until time is up; whoever is turned away comes back with the same wish when told to."""
    random = Random(number)
    while time.monotonic() < ends:
        await asyncio.sleep(random.uniform(0, 1))
        visit = wishes.next()
        reply = await pay(port, visit)
        tally.add(number, visit, reply)
        while reply.status == 429 and time.monotonic() + reply.retry_after < ends:
            await asyncio.sleep(reply.retry_after)
            reply = await pay(port, visit)
            tally.add(number, visit, reply)


class Soak:
    """A server and those who visit it.

    Args:
        server: Started with `OPTIONS`.
        model: Its model's name.
        clients: How many come.
    """

    def __init__(self, server: Server, model: str, clients: int) -> None:
        self.tally = Tally()
        self._server = server
        self._model = model
        self._clients = clients
        self._port = int(server.url.rpartition(":")[2])
        self._round = 0

    async def round(self, seconds: float) -> Reading:
        """Let everybody come and go for some time, and wait until all is quiet."""
        self._round += 1
        ends = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(self._clients):
                wishes = Wishes(self._model, Random(f"{self._round} {number}"))
                group.create_task(client(number, self._port, wishes, ends, self.tally))
        await self._quiet()
        await self._take_every_place()
        return await self._quiet()

    async def reading(self) -> Reading:
        """What is held now."""
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{self._server.url}/metrics")).text
        value = {}
        for line in text.splitlines():
            name, _, number = line.rpartition(" ")
            if name.startswith("omlx_"):
                metric, _, labels = name.partition("{")  # of one model, or none yet
                tier = re.search(r'tier="(\w+)"', labels)
                value[f"{metric} {tier[1]}" if tier else metric] = int(float(number))
        (engine,) = set(re.findall(r"is ready: process (\d+)", self._server.log.read_text()))
        return Reading(
            running=value["omlx_num_requests_running"],
            waiting=value["omlx_num_requests_waiting"],
            kv_bytes=value["omlx_kv_cache_bytes running"],
            prefix_bytes=value["omlx_kv_cache_bytes prefix"],
            in_flight=value["omlx_http_requests_in_flight"] - 1,
            tasks=value["omlx_event_loop_tasks"],
            preemptions=value["omlx_num_preemptions_total"],
            prefix_hits=value["omlx_prefix_cache_hits_total"],
            server=Held.by(self._server.pid),
            engine=Held.by(int(engine)),
        )

    async def _quiet(self) -> Reading:
        """The reading once nothing goes on, or what still goes on when that takes too long."""
        return await self._until(lambda reading: reading.is_quiet)

    async def _until(self, condition: Callable[[Reading], bool]) -> Reading:
        deadline = time.monotonic() + _IDLE_SECONDS
        reading = await self.reading()
        while not condition(reading) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            reading = await self.reading()
        return reading

    async def _take_every_place(self) -> None:
        """There is room for as many as the server promises, and not for one more."""
        wishes = Wishes(self._model, Random(self._round))
        async with _many(pay(self._port, wishes.long_stream()) for _ in range(BATCH + QUEUE)) as visits:
            reading = await self._until(lambda reading: reading.running + reading.waiting == BATCH + QUEUE)
            held = reading.running + reading.waiting
            if held != BATCH + QUEUE or any(visit.done() for visit in visits):
                self.tally.wrong.append(f"of {BATCH + QUEUE} places, {held} could be taken")
            one_more = await pay(self._port, replace(wishes.long_stream(), seconds=5.0))
            if one_more.status != 429:
                self.tally.wrong.append("one more than there are places was not turned away")


def left_behind(before: Reading, after: Reading) -> list[str]:
    """What is there that should not be, in words."""
    found = [
        f"{name}: {value}"
        for name, value in (
            ("running", after.running),
            ("waiting", after.waiting),
            ("bytes of the batch's KV", after.kv_bytes),
            ("HTTP requests in flight", after.in_flight),
        )
        if value
    ]
    if after.prefix_bytes > KV_BYTES:
        found.append(f"{after.prefix_bytes} bytes of kept KV, and {KV_BYTES} are allowed")
    if after.tasks > before.tasks:
        found.append(f"tasks in the server: {after.tasks}, {before.tasks} before")
    for name, earlier, later in (("server", before.server, after.server), ("engine", before.engine, after.engine)):
        for what, more, had, has in (
            ("bytes", MORE_BYTES, earlier.bytes, later.bytes),
            ("open files", MORE_FILES, earlier.files, later.files),
            ("threads", MORE_THREADS, earlier.threads, later.threads),
        ):
            if has > had + more:
                found.append(f"{what} of the {name}: {has}, {had} before")
    return found


@asynccontextmanager
async def _many(coroutines: Iterator[Any]) -> AsyncIterator[list["asyncio.Task[Any]"]]:
    """Tasks that end with the block."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def random_model(tokenizer_folder: Path) -> Iterator[Path]:
    """A folder with one small random model, named `tiny`; made in a process of its own: MLX stays out of this one."""
    with tempfile.TemporaryDirectory(prefix="omlx-soak-") as folder:
        arguments = [str(Path(folder) / "tiny"), "--shape", "tiny", "--dtype", "float32", "--tokenizer", str(tokenizer_folder)]
        subprocess.run([sys.executable, "-m", "benchmarks.random_model", *arguments], check=True)
        yield Path(folder)


async def measure(server: Server, model: str, seconds: float, clients: int) -> tuple[Reading, Reading, Tally]:
    """A first round, the long one, and what was held after each."""
    async with httpx.AsyncClient(timeout=120) as http:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        (await http.post(f"{server.url}/v1/chat/completions", json=body)).raise_for_status()
    soak = Soak(server, model, clients)
    before = await soak.round(seconds * WARM_SHARE)
    after = await soak.round(seconds)
    return before, after, soak.tally


def main() -> int:
    """Let them come, print what became of them and what they left, and say whether that is nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_folder", nargs="?", type=Path, help="a model's folder; a random one with the demo's tokenizer")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the long round; default 120")
    parser.add_argument("--clients", type=int, default=200, help="default 200")
    parser.add_argument(
        "--tokenizer", type=Path, help="whose tokenizer the random model gets; the demo model, fetched if need be"
    )
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    document = new_document("soak", seconds=options.seconds, clients=options.clients, batch=BATCH, queue=QUEUE, kv=KV_BYTES)
    document["command"] = " ".join(["python -m benchmarks.soak", *sys.argv[1:]])
    if options.model_folder:
        folder = options.model_folder.absolute()
        with running_server(folder.parent, *OPTIONS) as server:
            before, after, tally = asyncio.run(measure(server, folder.name, options.seconds, options.clients))
    else:
        tokenizer = options.tokenizer or demo_model_dir() / "SmolLM2-135M-Instruct"
        with random_model(tokenizer) as models, running_server(models, *OPTIONS) as server:
            before, after, tally = asyncio.run(measure(server, "tiny", options.seconds, options.clients))
    left = left_behind(before, after)
    document |= {
        "visits": {kind: dict(counts) for kind, counts in tally.outcomes.items()},
        "clients": len(tally.clients),
        "before": asdict(before),
        "after": asdict(after),
        "left_behind": left,
        "wrong": tally.wrong,
    }
    outcomes = ("ended", "left", "refused", "timed out")
    rows: list[list[object]] = [[kind, *(counts[each] for each in outcomes)] for kind, counts in sorted(tally.outcomes.items())]
    text = f"{options.clients} clients for {options.seconds:g} s\n\n" + table(["visit", *outcomes], rows)
    text += "\n\n" + table(["held", "before", "after"], [list(row) for row in _shown(before, after)])
    text += "\n\n" + ("\n".join(["Left behind:", *left]) if left else "Nothing is left behind.")
    text += "".join(f"\nWrong: {line}" for line in tally.wrong[:20])
    finish(document, text, keep=options.save)
    return 1 if left or tally.wrong else 0


def _shown(before: Reading, after: Reading) -> Iterator[tuple[str, int, int]]:
    for name in ("running", "waiting", "kv_bytes", "prefix_bytes", "in_flight", "tasks", "preemptions", "prefix_hits"):
        yield name, getattr(before, name), getattr(after, name)
    for process in ("server", "engine"):
        for name in ("bytes", "files", "threads"):
            yield f"{process}: {name}", getattr(getattr(before, process), name), getattr(getattr(after, process), name)


if __name__ == "__main__":
    sys.exit(main())
