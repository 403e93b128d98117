"""How the models that mlx-lm knows write their reasoning and their calls, found out as mlx-lm does it."""

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from mlx_lm.tokenizer_utils import TokenizerWrapper, _infer_tool_parser

from actors.engine.answer_format import AnswerFormat, AnswerFormats, CallFormat, Kind, Mark, Stretch, tagged_format

_NAME_ENDS = re.compile(r"[^\w.-]")
_MORE_REASONING = (("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"))  # Magistral, Ministral 3; Seed-OSS
_HARMONY = ("<|channel|>", "<|message|>", "<|call|>")


def known_formats(tokenizer: TokenizerWrapper) -> AnswerFormats:
    """The formats of a tokenizer's model; see `AnswerFormats`."""

    @lru_cache(8)
    def formats(template: str | None) -> AnswerFormat:
        vocabulary = tokenizer.get_vocab()
        if all(mark in vocabulary for mark in _HARMONY):
            return HARMONY
        name = _parser_name(tokenizer, template)
        reasoning = (tokenizer.think_start, tokenizer.think_end) if tokenizer.has_thinking else _reasoning(vocabulary)
        if tokenizer.response_initial_state is not None:
            return _staged(tokenizer, name)
        dropped = [Mark(text, "text") for text in tokenizer.structural_markers]
        if name == "qwen3_coder":  # which now and then leaves the tag around a call out, or the opening half of it
            dropped.append(Mark("</tool_call>", "text", only_first=True))
        return tagged_format(reasoning, _calls(name), dropped)

    return formats


def _reasoning(vocabulary: Mapping[str, int]) -> tuple[str, str] | None:
    """Marks of reasoning that mlx-lm doesn't know."""
    return next((marks for marks in _MORE_REASONING if all(mark in vocabulary for mark in marks)), None)


class _Templated:
    """A tokenizer as if its chat template was another."""

    def __init__(self, tokenizer: TokenizerWrapper, template: str) -> None:
        self.chat_template = template
        self.get_vocab: Callable[[], Mapping[str, int]] = tokenizer.get_vocab


def _parser_name(tokenizer: TokenizerWrapper, template: str | None) -> str | None:
    """Which of mlx-lm's parsers reads the calls; None for none."""
    given = None if template is not None else tokenizer.init_kwargs.get("tool_parser_type")
    name: str | None = given or _infer_tool_parser(tokenizer if template is None else _Templated(tokenizer, template))
    return name


def _calls(name: str | None) -> list[CallFormat]:
    if name is None:
        return []
    module = importlib.import_module(f"mlx_lm.tool_parsers.{name}")
    calls = [CallFormat(module.tool_call_start, module.tool_call_end, module.parse_tool_call)]
    if name == "qwen3_coder":
        calls.append(CallFormat("<function=", "</function>", module.parse_tool_call, keeps_marks=True))
    return calls


def _staged(tokenizer: TokenizerWrapper, name: str | None) -> AnswerFormat:
    """Of a model whose turns are several messages with headers, as mlx-lm's chat template for it says."""
    kinds = {"reasoning": Kind.REASONING, "header": Kind.HEADER}
    calls = dict(zip(["tool"], _calls(name), strict=False))
    stretches = {
        state: Stretch(kinds.get(state, Kind.TEXT), tuple(Mark(text, opens) for text, opens in edges if opens != "tool" or calls))
        for state, edges in tokenizer.response_transitions.items()
    }
    return AnswerFormat(stretches | {call: Stretch(Kind.CALL) for call in calls}, calls, str(tokenizer.response_initial_state))


def _harmony_call(text: str, _tools: Sequence[Mapping[str, Any]]) -> object:
    """`name<|channel|>commentary json<|message|>{…}`, or with the channel before it."""
    name, _, arguments = text.partition("<|message|>")
    return {"name": _NAME_ENDS.split(name, maxsplit=1)[0], "arguments": json.loads(arguments)}


# OpenAI's gpt-oss: a turn is several messages, each behind a header that names its channel and its recipient. A call ends in a token
# that ends the answer. See "OpenAI harmony response format" in OpenAI's cookbook.
HARMONY = AnswerFormat(
    stretches={
        "header": Stretch(
            Kind.HEADER,
            (
                Mark("analysis<|message|>", "reasoning"),
                Mark("final<|message|>", "text"),
                Mark("commentary<|message|>", "text"),
                Mark("to=functions.", "call"),
            ),
        ),
        "reasoning": Stretch(Kind.REASONING, (Mark("<|end|>", "header"),)),
        "text": Stretch(Kind.TEXT, (Mark("<|end|>", "header"),)),
        "call": Stretch(Kind.CALL),
    },
    calls={"call": CallFormat(" to=functions.", "", _harmony_call)},
    first="header",
)
