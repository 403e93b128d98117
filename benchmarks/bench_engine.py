"""What computing costs: prefill and decode tokens a second of our engine core beside mlx-lm's `BatchGenerator`, no HTTP, no Ray.

    python -m benchmarks.bench_engine [MODEL_FOLDER] [--short] [--save]

Both run in this process, each on its own copy of the model, take turns, and a figure is the median over the rounds. On the CPU
the weights are dense float32 and the fast BLAS is in front, as in an engine; the functions of `scheduler.mlx.cpu` are in place for
both, as they can't be for one only.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any, Protocol

from scheduler.mlx.blas import preload_blas

BLAS = preload_blas()

import mlx.core as mx
from mlx_lm.generate import BatchGenerator
from mlx_lm.utils import dequantize_model, load_model

from actors.engine.backend import Backend
from actors.engine.loader import load_backend
from benchmarks.model_folder import model_in
from benchmarks.report import finish, new_document, table
from benchmarks.server import demo_model_dir
from scheduler.core import EngineCore
from scheduler.mlx.device import device_kind
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig

LENGTHS = (32, 128, 512, 2048)
BATCHES = (1, 2, 4, 8, 16)
DECODE_PROMPT = 64  # tokens that each row of a decoding batch begins with
_NO_END = 1 << 20  # tokens that no measurement reaches


class Engine(Protocol):
    """Something that generates, greedily and without an end."""

    def add(self, prompt: Sequence[int]) -> None:
        """Take a prompt."""
        ...

    def step(self) -> int:
        """Take one step; the number of tokens that it generated."""
        ...

    def clear(self) -> None:
        """Drop every sequence."""
        ...


class Ours:
    """The engine core and its runner, as an engine has them."""

    def __init__(self, backend: Backend) -> None:
        config = SchedulerConfig(max_num_seqs=max(BATCHES), max_decode_stall=backend.max_decode_stall)
        self._core = EngineCore(backend.runner, config)
        self._ids = count()

    def add(self, prompt: Sequence[int]) -> None:
        self._core.add(Request(str(next(self._ids)), tuple(prompt), _NO_END, sampling=SamplingParams(temperature=0.0)))

    def step(self) -> int:
        return len(self._core.step().events)

    def clear(self) -> None:
        for request_id in self._core.request_ids():
            self._core.abort(request_id)
        while self._core.has_work:
            self._core.step()


class MlxLm:
    """mlx-lm's batch generator, as it comes."""

    def __init__(self, model: Any) -> None:
        self._generator = BatchGenerator(model, max_tokens=_NO_END)
        self._uids: list[int] = []

    def add(self, prompt: Sequence[int]) -> None:
        self._uids += self._generator.insert([list(prompt)])

    def step(self) -> int:
        return len(self._generator.next()[1])

    def clear(self) -> None:
        self._generator.remove(self._uids)
        self._uids = []


def prefill(engine: Engine, prompt: Sequence[int]) -> float:
    """Prompt tokens a second up to the prompt's first answer token."""
    began = perf_counter()
    engine.add(prompt)
    while not engine.step():
        pass
    seconds = perf_counter() - began
    engine.clear()
    return len(prompt) / seconds


def decode(engine: Engine, prompts: Sequence[Sequence[int]], steps: int) -> float:
    """Tokens a second of a batch whose prompts are in."""
    for prompt in prompts:
        engine.add(prompt)
    while engine.step() < len(prompts):
        pass
    engine.step()  # the rows that joined last are merged here
    began = perf_counter()
    tokens = sum(engine.step() for _ in range(steps))
    seconds = perf_counter() - began
    engine.clear()
    return tokens / seconds


def take_turns(engines: dict[str, Engine], rounds: int, measure: Callable[[Engine], float]) -> dict[str, float]:
    """Each engine's median; a first round, to warm up, doesn't count."""
    figures: dict[str, list[float]] = {name: [] for name in engines}
    for round_number in range(rounds + 1):
        for name in engines if round_number % 2 else reversed(engines):
            figure = measure(engines[name])
            if round_number:
                figures[name].append(figure)
    medians = {name: round(median(values), 2) for name, values in figures.items()}
    return medians | {"ratio": round(medians["omlx"] / medians["mlx-lm"], 3)}


def load(model_folder: Path) -> Any:
    """The model as an engine loads it for this machine's device."""
    model, config = load_model(model_folder)
    if device_kind() == "cpu":
        model = dequantize_model(model)
        model.set_dtype(mx.float32)
        mx.eval(model.parameters())
    model.eval()
    return model, config["vocab_size"]


def main() -> int:
    """Measure every length and batch, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_folder", nargs="?", type=Path, help="one model's folder; the demo model, fetched if need be")
    parser.add_argument("--short", action="store_true", help="fewer cases and steps")
    parser.add_argument("--rounds", type=int, help="default 3, or 1 when short")
    parser.add_argument("--steps", type=int, help="decode steps of a measurement; default 24, or 8 when short")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.short else 3)
    steps = options.steps or (8 if options.short else 24)
    lengths, batches = ((128, 512), (1, 8)) if options.short else (LENGTHS, BATCHES)
    folder = options.model_folder or demo_model_dir() / "SmolLM2-135M-Instruct"
    device = f"{device_kind()} with {BLAS.name}" if device_kind() == "cpu" and BLAS else device_kind()
    document = new_document(
        "engine", model=folder.name, device=device, rounds=rounds, decode_steps=steps, decode_prompt=DECODE_PROMPT
    )
    info = model_in(folder)
    model, vocabulary = load(folder)
    engines: dict[str, Engine] = {"omlx": Ours(load_backend(info)), "mlx-lm": MlxLm(model)}
    random = Random(0)

    def prompt(length: int) -> list[int]:
        return [random.randrange(vocabulary) for _ in range(length)]

    def prefill_turns(length: int) -> dict[str, float]:
        tokens = prompt(length)
        return take_turns(engines, rounds, lambda engine: prefill(engine, tokens))

    def decode_turns(batch: int) -> dict[str, float]:
        rows = [prompt(DECODE_PROMPT) for _ in range(batch)]
        return take_turns(engines, rounds, lambda engine: decode(engine, rows, steps))

    document["prefill_tokens_per_second"] = [{"length": length} | prefill_turns(length) for length in lengths]
    document["decode_tokens_per_second"] = [{"batch": batch} | decode_turns(batch) for batch in batches]
    text = f"{folder.name} on {device}, {rounds} rounds, tokens a second\n\nPrefill\n\n"
    text += table(["length", "omlx", "mlx-lm", "ratio"], [list(row.values()) for row in document["prefill_tokens_per_second"]])
    text += f"\n\nDecode, {steps} steps after prompts of {DECODE_PROMPT} tokens\n\n"
    text += table(["batch", "omlx", "mlx-lm", "ratio"], [list(row.values()) for row in document["decode_tokens_per_second"]])
    finish(document, text, keep=options.save)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # MLX may abort in glibc when the interpreter ends
