"""Eight different streamed chats, in a row and all at once, over HTTP: the same texts, and in how much less time.

    python -m benchmarks.bench_batching [MODEL_DIR]

The last line of standard output is one JSON document. `--save` keeps it under `results/`.
"""

import asyncio
import statistics
import sys
from typing import Any

from benchmarks.client import Measured, chat
from benchmarks.report import finish, new_document
from benchmarks.server import Server, demo_model_dir, running_server

MODEL = "SmolLM2-135M-Instruct"
MAX_TOKENS = 48
ROUNDS = 3  # in a row and at once take turns, and the median counts
QUESTIONS = (
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain photosynthesis to a child.",
    "Give me a recipe for pancakes.",
    "Who was Marie Curie?",
    "List five animals that live in the desert.",
    "Why is the sky blue?",
    "Tell me a story about a lighthouse.",
)


def body(question: str) -> dict[str, Any]:
    """A greedy chat request."""
    messages = [{"role": "user", "content": question}]
    return {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}


async def in_a_row(url: str) -> list[Measured]:
    """One after the other."""
    return [await chat(url, body(question)) for question in QUESTIONS]


async def at_once(url: str) -> list[Measured]:
    """All together."""
    return list(await asyncio.gather(*(chat(url, body(question)) for question in QUESTIONS)))


async def measure(server: Server) -> dict[str, Any]:
    """Alternate both ways, and compare texts and times."""
    rows: list[list[Measured]] = []
    batches: list[list[Measured]] = []
    await at_once(server.url)  # loads the model and warms it up
    for _ in range(ROUNDS):
        rows.append(await in_a_row(server.url))
        batches.append(await at_once(server.url))
    errors = [m.error for run in (*rows, *batches) for m in run if m.error]
    row_seconds = statistics.median(sum(m.seconds for m in run) for run in rows)
    batch_seconds = statistics.median(max(m.done for m in run) - min(m.sent for m in run) for run in batches)
    tokens = sum(m.completion_tokens for m in batches[0])
    alone = [m.text for m in rows[0]]
    return {
        "requests": len(QUESTIONS),
        "max_tokens": MAX_TOKENS,
        "start_seconds": round(server.start_seconds, 1),
        "in_a_row_seconds": round(row_seconds, 2),
        "at_once_seconds": round(batch_seconds, 2),
        "ratio": round(batch_seconds / row_seconds, 3),
        "in_a_row_tokens_per_second": round(tokens / row_seconds, 1),
        "at_once_tokens_per_second": round(tokens / batch_seconds, 1),
        "same_texts": all([m.text for m in run] == alone for run in (*rows, *batches)),
        "errors": errors,
    }


def main() -> int:
    """Run, print, and fail when the texts differ or batching doesn't halve the time."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    with running_server(demo_model_dir(arguments), "--max-concurrent-requests", str(len(QUESTIONS))) as server:
        document = new_document("batching", rounds=ROUNDS, model=MODEL)
        result = asyncio.run(measure(server))
    text = (
        f"{result['requests']} streamed chats of at most {MAX_TOKENS} tokens, {MODEL}, greedy\n"
        f"  in a row  {result['in_a_row_seconds']:6.2f} s  {result['in_a_row_tokens_per_second']:6.1f} tokens/s\n"
        f"  at once   {result['at_once_seconds']:6.2f} s  {result['at_once_tokens_per_second']:6.1f} tokens/s\n"
        f"  ratio     {result['ratio']:.3f} (less than 0.5 is wanted), "
        f"texts {'are the same' if result['same_texts'] else 'DIFFER'}, {len(result['errors'])} errors"
    )
    finish(document | result, text, keep="--save" in sys.argv)
    return 0 if result["same_texts"] and result["ratio"] < 0.5 and not result["errors"] else 1


if __name__ == "__main__":
    sys.exit(main())
