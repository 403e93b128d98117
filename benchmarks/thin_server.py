"""The thinnest HTTP front: streamed greedy chats from whatever generates tokens, in a process of its own.

The front has the tokenizer and the connections, the other process has the model and nothing else to do. A step's tokens
travel between them as one message.
"""

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from actors.engine.answer_text import AnswerText
from actors.engine.text import Tokenizer

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":%s},"finish_reason":%s}]}\n\n'
_USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}\n\ndata: [DONE]\n\n'


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be generated, greedily.

    Attributes:
        number: What its tokens are called by.
        ignore_eos: Only its length ends it.
    """

    number: int
    prompt: tuple[int, ...]
    max_tokens: int
    ignore_eos: bool


Token = tuple[int, int, str | None]  # whose it is, the token, and why it is the last if it is
# Loads a model folder for batches of a size, sends None, then receives `Ask`s and sends lists of `Token`s, for ever.
Generate = Callable[[Path, int, "Connection[list[Token] | None, Ask]"], None]


@dataclass(slots=True)
class _Stream:
    """An answer on its way to its client."""

    writer: asyncio.StreamWriter
    text: AnswerText
    prompt_tokens: int
    completion_tokens: int = 0

    def take(self, token: int, reason: str | None) -> None:
        """Send on what a step brought."""
        self.completion_tokens += 1
        said = [] if reason == "stop" else self.text.add(token)
        if reason is not None:
            said += self.text.finish()
        text = "".join(each.text for each in said)
        self.writer.write(_EVENT % (orjson.dumps(text), orjson.dumps(reason)))
        if reason is not None:
            self.writer.write(_USAGE % (self.prompt_tokens, self.completion_tokens))
            self.writer.close()


class Front:
    """The connections, and the way to the other process."""

    def __init__(self, tokenizer: Tokenizer, work: "Connection[Ask, list[Token]]") -> None:
        self._tokenizer = tokenizer
        self._work = work
        self._numbers = count()
        self._streams: dict[int, _Stream] = {}

    async def listen(self, port: int) -> asyncio.Server:
        """Take connections, and the tokens for them."""
        asyncio.get_running_loop().add_reader(self._work.fileno(), self._forward)
        return await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=1024)

    def _forward(self) -> None:
        """Take a step's tokens. Without the other process there is nothing left to do."""
        try:
            tokens = self._work.recv()
        except EOFError:
            os._exit(1)
        for number, token, reason in tokens:
            self._streams[number].take(token, reason)
            if reason is not None:
                del self._streams[number]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a chat, or a question after its health."""
        method, *headers = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        writer.write(_HEAD)
        if method.startswith(b"get"):
            writer.close()
            return
        length = next(int(header.partition(b":")[2]) for header in headers if header.startswith(b"content-length:"))
        body = orjson.loads(await reader.readexactly(length))
        text = self._tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        ask = Ask(
            next(self._numbers),
            tuple(self._tokenizer.encode(text, add_special_tokens=False)),
            body["max_tokens"],
            body.get("ignore_eos", False),
        )
        self._streams[ask.number] = _Stream(writer, AnswerText(self._tokenizer, ()), len(ask.prompt))
        self._work.send(ask)


def serve(generate: Generate) -> None:
    """Serve the model folder, at the port, in batches of the size that the command line names; `/health` once it is loaded."""
    folder, port, size = Path(sys.argv[1]).absolute(), int(sys.argv[2]), int(sys.argv[3])
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_work, args=(generate, folder, size, there), daemon=True)
    worker.start()
    there.close()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(folder, port, here))


async def _serve(folder: Path, port: int, work: "Connection[Ask, list[Token]]") -> None:
    from transformers import AutoTokenizer

    front = Front(AutoTokenizer.from_pretrained(folder), work)
    work.recv()  # it is loaded
    async with await front.listen(port) as server:
        await server.serve_forever()


def _work(generate: Generate, folder: Path, size: int, work: "Connection[list[Token] | None, Ask]") -> None:
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):  # the front is gone
        generate(folder, size, work)
    os._exit(0)  # MLX may abort in glibc when the interpreter ends
