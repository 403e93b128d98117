"""A model without a tensor: its tokens are bytes, and its answer is the prompt said back, then the end."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.contracts import EngineOptions
from actors.engine.answer_format import CallFormat, tagged_format
from actors.engine.backend import Backend
from actors.engine.encoder_backend import EncoderBackend
from actors.models import ModelInfo
from scheduler.sampling import SamplingParams
from scheduler.step import StepPlan, StepResult, TokenLogprobs
from tests.fakes.encoder import byte_encoder

END = 256  # after the 256 byte tokens
TOOLS_END = 2  # a byte that stands in no text
CONTEXT = 4096
DTYPE_BYTES = {"F32": 4, "BF16": 2, "F16": 2, "U32": 4, "I32": 4, "U8": 1}
EMPTY_WEIGHTS = (2).to_bytes(8, "little") + b"{}"  # a whole safetensors file without a tensor
MODELS = ("breaks", "caller", "drifting", "echo", "endless", "unloadable")
CHOICE_SEEDS = [SamplingParams(seed=0).for_choice(index).seed for index in range(8)]


class Launched:
    """A step's result, to be had once it has been launched."""

    def __init__(self, result: StepResult) -> None:
        self._result = result
        self.launches = 0

    def launch(self) -> None:
        self.launches += 1

    def wait(self) -> StepResult:
        assert self.launches == 1
        return self._result


class EchoRunner:
    """Computes the prompt's own tokens again, one a step, and checks that it is used as a runner may be."""

    def __init__(self, *, looks_ahead: bool = False, launch_blocks: bool = False) -> None:
        self.looks_ahead = looks_ahead
        self.launch_blocks = launch_blocks
        self.latest: Launched | None = None
        self.plans: list[StepPlan] = []
        self._drawn: dict[str, int] = {}
        self._fed: dict[str, int] = {}
        self._kv: dict[str, list[int]] = {}  # the tokens that each row's KV stands for
        self.blocks: dict[int, tuple[int, ...]] = {}  # the same of each block that is kept, with those before it
        self._sizes: dict[int, int] = {}
        self.checkpoints: dict[int, tuple[int, ...]] = {}  # all tokens that the row stood for when each was taken

    def _next(self, prompt: Sequence[int], position: int) -> int:
        return prompt[position] if position < len(prompt) else END

    @property
    def rows(self) -> set[str]:
        """The sequences that hold a row."""
        return set(self._fed)

    @property
    def kept_tokens(self) -> int:
        """For how many tokens KV is kept."""
        return sum(self._sizes[block_id] for block_id in self.blocks)

    def run(self, plan: StepPlan) -> Launched:
        assert self.latest is None or self.latest.launches == 1, "a plan before the one before was launched"
        self.latest = Launched(self.compute(plan))
        return self.latest

    def compute(self, plan: StepPlan) -> StepResult:
        self.plans.append(plan)
        for request_id, kept in plan.keep:
            if kept.checkpoint is not None:
                assert kept.checkpoint not in self.checkpoints
                self.checkpoints[kept.checkpoint] = tuple(self._kv[request_id])
            for each in kept.blocks:
                assert each.block_id not in self.blocks
                assert each.start < each.stop <= len(self._kv[request_id])
                self.blocks[each.block_id] = tuple(self._kv[request_id][: each.stop])
                self._sizes[each.block_id] = each.stop - each.start
        for number in plan.forget:
            del (self.blocks if number in self.blocks else self.checkpoints)[number]
        for request_id in plan.dropped:
            self._kv.pop(request_id, None)
            self._fed.pop(request_id, None)  # it may have been admitted and never fed
        tokens, logprobs = {}, {}
        for sequence in (*plan.decode, *(sequence for chunk in plan.prefill for sequence in chunk.sampled)):
            request, wanted = sequence.request, sequence.request.sampling.logprobs
            if wanted is not None:
                token = self._next(request.prompt, sequence.position)
                top = ((token, -0.25), (ord("x"), -2.0), (END, -9999.0))
                logprobs[sequence.request_id] = TokenLogprobs(token, -0.25, top[:wanted])
        for sequence in plan.decode:
            assert self._fed[sequence.request_id] == len(sequence.context)
            assert 1 <= sequence.in_flight <= 1 + self.looks_ahead
            known = sequence.output[-1] if sequence.in_flight == 1 else self._drawn[sequence.request_id]
            self._kv[sequence.request_id].append(known)
            tokens[sequence.request_id] = self._next(sequence.request.prompt, sequence.position)
        for chunk in plan.prefill:
            sequence = chunk.sequence
            if chunk.is_first:
                reused = sequence.reused
                kv = self.blocks[reused.blocks[-1].block_id][: reused.tokens] if reused.blocks else ()
                if reused.checkpoint is not None:
                    assert self.checkpoints[reused.checkpoint.checkpoint_id] == kv, "the state after other tokens"
                assert kv == sequence.context[: chunk.start], "the KV of another prompt"
                self._kv[sequence.request_id] = list(kv)
                self._fed[sequence.request_id] = chunk.start
            assert self._fed[sequence.request_id] == chunk.start < chunk.stop <= len(sequence.context)
            self._kv[sequence.request_id] += sequence.context[chunk.start : chunk.stop]
            self._fed[sequence.request_id] = chunk.stop
            assert chunk.is_last or not chunk.forks, "a fork of an unfinished prompt"
            for fork in chunk.forks:
                assert fork.request_id not in self._fed, "a fork that has a row"
                assert fork.context == sequence.context, "a fork of another prompt"
                self._kv[fork.request_id] = list(self._kv[sequence.request_id])
                self._fed[fork.request_id] = chunk.stop
            for sampled in chunk.sampled:
                tokens[sampled.request_id] = self._next(sampled.request.prompt, sampled.position)
        self._drawn = tokens
        return StepResult(tokens, logprobs)


class EndlessRunner(EchoRunner):
    """Says the prompt again and again, at the pace of a real model, so that it is still talking whenever one looks."""

    def compute(self, plan: StepPlan) -> StepResult:
        time.sleep(0.005)
        return super().compute(plan)

    def _next(self, prompt: Sequence[int], position: int) -> int:
        return prompt[position % len(prompt)]


class DriftingRunner(EchoRunner):
    """Says the prompt's first letter for ever, and each choice one letter further, by what its seed is."""

    def compute(self, plan: StepPlan) -> StepResult:
        result = super().compute(plan)
        first = {}
        for sequence in (*plan.decode, *(sequence for chunk in plan.prefill for sequence in chunk.sampled)):
            first[sequence.request_id] = sequence.request.prompt[0] + CHOICE_SEEDS.index(sequence.request.sampling.seed)
        return StepResult(first, result.logprobs)


class CallingRunner(EchoRunner):
    """Says what its prompt has after the tools."""

    def _next(self, prompt: Sequence[int], position: int) -> int:
        return super()._next(prompt[prompt.index(TOOLS_END) + 1 :], position)


class BrokenRunner(EchoRunner):
    """Breaks at its `at`-th step, as a GPU error would."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def compute(self, plan: StepPlan) -> StepResult:
        if len(self.plans) + 1 == self._at:
            raise RuntimeError("out of memory")
        return super().compute(plan)


class ByteTokenizer:
    """A token a byte, so that a character may be split over tokens; the chat template is the last message, and others are format strings."""

    chat_template: str | None = "the last message"

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return bytes(token for token in token_ids if token < END).decode(errors="replace")

    def convert_ids_to_tokens(self, ids: int) -> str | None:
        return f"<0x{ids:02X}>" if ids < END else None

    def apply_chat_template(
        self, conversation: Sequence[dict], *, tokenize: bool, add_generation_prompt: bool, chat_template=None, **variables
    ) -> str:
        assert not tokenize
        assert add_generation_prompt
        message = conversation[-1]
        if message["role"] == "tool":
            raise ValueError("this template knows no tools")
        return message["content"] if chat_template is None else chat_template.format(**message, **variables)


class ToolTokenizer(ByteTokenizer):
    """Its chat template tells of tools first, and is the last message then."""

    def apply_chat_template(self, conversation: Sequence[dict], *, tools=(), **options) -> str:
        told = " ".join(tool["function"]["name"] for tool in tools)
        return f"{told}{chr(TOOLS_END)}{super().apply_chat_template(conversation, **options)}"


def json_call(text: str, _tools: Sequence[Mapping[str, Any]]) -> object:
    """A call that is JSON."""
    return json.loads(text)


TAGGED = tagged_format(("<think>", "</think>"), [CallFormat("<tool_call>", "</tool_call>", json_call)])


def echo_backend(model: ModelInfo, _options: EngineOptions | None = None) -> Backend | EncoderBackend:
    """What an engine loads in place of a model, by its name: `echo`, `caller`, `endless`, `drifting`, `breaks`, or `unloadable`.

    An embedding model or reranker is one of `tests.fakes.encoder`.
    """
    if model.model_id == "unloadable":
        raise ValueError("its weights are of no known kind")
    if model.type.encodes:
        return byte_encoder(model)
    if model.model_id == "caller":
        return Backend(
            CallingRunner(), ToolTokenizer(), END + 1, frozenset({END}), CONTEXT, "cpu", formats=lambda _template: TAGGED
        )
    runners = {"drifting": DriftingRunner, "endless": EndlessRunner, "breaks": lambda: BrokenRunner(at=4)}
    runner = runners.get(model.model_id, EchoRunner)()
    return Backend(runner, ByteTokenizer(), END + 1, frozenset({END}), CONTEXT, "cpu")


ECHO_BACKEND = f"{__name__}:{echo_backend.__name__}"


def model_info(model_id: str = "echo", path: Path = Path("/nowhere"), **more: Any) -> ModelInfo:
    """A model on no disk."""
    return ModelInfo(model_id=model_id, path=path, **{"architecture": "llama", "context_length": CONTEXT} | more)


def safetensors(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """A whole safetensors file of zeros; each tensor by its name, with dtype and shape."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + math.prod(shape) * DTYPE_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps({"__metadata__": {"format": "mlx"}, **header}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


def write_model(model_dir: Path, model_id: str) -> None:
    """A folder that discovery takes for a model."""
    folder = model_dir / model_id
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(EMPTY_WEIGHTS)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": CONTEXT}))
