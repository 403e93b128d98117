"""The prompts that benchmarks send, and when: deterministic from a seed, in English, about as long as they were ordered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from omlx.benchmark.prose import CountTokens, Writer


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to send.

    Attributes:
        text: What the user says.
        max_tokens: The most tokens of the answer.
        at: When it is sent, seconds from the start; a closed loop doesn't look at it.
    """

    text: str
    max_tokens: int
    at: float = 0.0


def chat(writer: Writer, count: int, max_tokens: int) -> list[Prompt]:
    """Short and varied: 20 to 100 tokens each."""
    return [Prompt(writer.order(writer.random.randint(20, 100)), max_tokens) for _ in range(count)]


def long_prompt(writer: Writer, count: int, max_tokens: int) -> list[Prompt]:
    """2,000 tokens each, nothing in common."""
    return [Prompt(writer.order(2000), max_tokens) for _ in range(count)]


def shared_prefix(writer: Writer, count: int, max_tokens: int) -> list[Prompt]:
    """1,500 tokens that all have in common, then an instruction that each has for itself."""
    prefix = writer.prose(1500)
    return [Prompt(f"{prefix} {index + 1}. {writer.task()}", max_tokens) for index in range(count)]


def mixed(writer: Writer, count: int, max_tokens: int) -> list[Prompt]:
    """Lengths from 20 to 2,000 tokens and answers from a quarter of `max_tokens` to all of it, most of them short."""
    prompts = []
    for _ in range(count):
        tokens = round(20 * 100 ** writer.random.random() ** 2)
        answer = writer.random.randint(max(1, max_tokens // 4), max_tokens)
        prompts.append(Prompt(writer.order(tokens), answer))
    return prompts


def burst(writer: Writer, count: int, max_tokens: int, *, size: int = 8, every: float = 10.0) -> list[Prompt]:
    """Chats that come `size` at a time, at the same moment, `every` so many seconds."""
    return [replace(prompt, at=index // size * every) for index, prompt in enumerate(chat(writer, count, max_tokens))]


WORKLOADS: dict[str, Callable[[Writer, int, int], list[Prompt]]] = {
    "chat": chat,
    "long": long_prompt,
    "shared-prefix": shared_prefix,
    "mixed": mixed,
    "burst": burst,
}


def make_workload(
    name: str, count_tokens: CountTokens, count: int, max_tokens: int, *, seed: int, tokens: int | None = None
) -> list[Prompt]:
    """A workload's prompts: the same ones for the same arguments; with `tokens`, all of that length."""
    writer = Writer(count_tokens, Random(f"{name} {seed}"))
    if tokens is not None:
        return [Prompt(writer.order(tokens), max_tokens) for _ in range(count)]
    return WORKLOADS[name](writer, count, max_tokens)


def poisson(prompts: Sequence[Prompt], rate: float, *, seed: int) -> list[Prompt]:
    """The prompts as they come when `rate` independent users a second send them, the first at 0."""
    random = Random(f"poisson {seed}")
    at = 0.0
    arriving = []
    for prompt in prompts:
        arriving.append(replace(prompt, at=at))
        at += random.expovariate(rate)
    return arriving


def model_counter(model_folder: Path) -> CountTokens:
    """Counts as a model's tokenizer does, without loading the model."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
