"""The formats that mlx-lm knows, with its own tokenizers and parsers: from a model's tokens to calls, reasoning and text."""

import json
from types import SimpleNamespace

import pytest
from mlx_lm.tokenizer_utils import TokenizerWrapper, load
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from actors.contracts import ChatPrompt, Job, Tools
from actors.engine.answer_text import AnswerText
from actors.engine.known_formats import HARMONY, known_formats
from actors.engine.prompt import TEXT_ALONE, read_prompt
from actors.engine.splitter import Splitter, joined
from actors.engine.tool_calls import CallReader
from actors.errors import InvalidJobError

FUNCTION = {
    "name": "edit",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}, "line": {"type": "integer"}}},
}
TOOLS = ({"type": "function", "function": FUNCTION},)
TELLS = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}{{ messages[-1].content }}"
EDIT = ("edit", {"path": "a.py", "line": 3})
JSON = '{"name": "edit", "arguments": {"path": "a.py", "line": 3}}'
XML = "<function=edit>\n<parameter=path>\na.py\n</parameter>\n<parameter=line>\n3\n</parameter>\n</function>"
GLM = "edit\n<arg_key>path</arg_key>\n<arg_value>a.py</arg_value>\n<arg_key>line</arg_key>\n<arg_value>3</arg_value>\n"
KIMI = '<|tool_call_begin|>functions.edit:0<|tool_call_argument_begin|>{"path": "a.py", "line": 3}<|tool_call_end|>'
GEMMA = 'call:edit{path:<|"|>a.py<|"|>,line:3}'


def tokenizer(folder, template, special=(), plain=()) -> TokenizerWrapper:
    """A tokenizer of bytes with some tokens more, as mlx-lm loads it."""
    alphabet = {character: number for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(BPE(alphabet, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True) for text in ("<end>", *special)])
    made.add_tokens([AddedToken(text, special=False) for text in plain])
    folder.mkdir(exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "chat_template": template + TELLS}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load(folder)


THINK, TAGS = ("<think>", "</think>"), ("<tool_call>", "</tool_call>")
QWEN3 = "{# <tool_call> tool_call.name #}"
CODER = "{# <tool_call>\n<function= #}"
LFM = ("<|tool_call_start|>", "<|tool_call_end|>")
CASES = {
    # name: template, special tokens, other tokens, answer, what is said
    "json_tools": (QWEN3, (), (*THINK, *TAGS), f"<think>\nHm.\n</think>\n\nSo:\n<tool_call>\n{JSON}\n</tool_call><end>", ["Hm.", "So:", EDIT]),
    "qwen3_coder": (CODER, (), TAGS, f"So:\n<tool_call>\n{XML}\n</tool_call>\n<tool_call>\n{XML}\n</tool_call>", ["", "So:", EDIT, EDIT]),
    "qwen3_coder without its tag": (CODER, (), TAGS, f"So:\n\n{XML}\n</tool_call>", ["", "So:", EDIT]),
    "mistral": ("{# [TOOL_CALLS] #}", ("[TOOL_CALLS]", "[ARGS]"), (), 'So:[TOOL_CALLS]edit[ARGS]{"path": "a.py", "line": 3}[TOOL_CALLS]edit[ARGS]{"path": "a.py", "line": 3} Done.', ["", "So: Done.", EDIT, EDIT]),
    "mistral that thinks": (
        "{# [TOOL_CALLS] #}",
        ("[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"),
        (),
        '[THINK]Hm.[/THINK]So:[TOOL_CALLS]edit[ARGS]{"path": "a.py", "line": 3}',
        ["Hm.", "So:", EDIT],
    ),
    "mistral, as it was": ("{# [TOOL_CALLS] #}", ("[TOOL_CALLS]",), (), f"[TOOL_CALLS] [{JSON}]", ["", "", EDIT]),
    "pythonic": ("{# <|tool_call_start|> #}", LFM, (), f'{LFM[0]}[edit(path="a.py", line=3), edit(path="a.py", line=3)]{LFM[1]}So.', ["", "So.", EDIT, EDIT]),
    "glm47": ("{# <arg_key> #}", (), (*THINK, *TAGS), f"<think>Hm.</think><tool_call>{GLM}</tool_call>", ["Hm.", "", EDIT]),
    "kimi_k2": ("{# <|tool_calls_section_begin|> #}", ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"), (), f"So:<|tool_calls_section_begin|>{KIMI}{KIMI}<|tool_calls_section_end|>", ["", "So:", EDIT, EDIT]),
    "gemma4": ("{# <|tool_call> <tool_call|> #}", ("<|tool_call>", "<tool_call|>", '<|"|>', "<|channel>", "<channel|>"), (), f"<|channel>thought\nHm.<channel|>So:<|tool_call>{GEMMA}<tool_call|>", ["Hm.", "So:", EDIT]),
    "minicpm5": ('{# <function name=" <param name=" #}', (), (), 'So:\n<function name="edit"><param name="path">a.py</param><param name="line">3</param></function>', ["", "So:", EDIT]),
    "kimi_k3": ("", ("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"), (), '<|open|>think<|sep|>Hm.<|close|>think<|sep|><|open|>response<|sep|>So:<|close|>response<|sep|><|open|>tools<|sep|><|open|>call tool="edit" index="1"<|sep|><|open|>argument key="path" type="string"<|sep|>a.py<|close|>argument<|sep|><|open|>argument key="line" type="number"<|sep|>3<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|><|close|>message<|sep|>', ["Hm.", "So:", EDIT]),
    "harmony": ("", ("<|start|>", "<|end|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|call|>"), (), '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>So:<|end|><|start|>assistant<|channel|>commentary to=functions.edit <|constrain|>json<|message|>{"path": "a.py", "line": 3}', ["Hm.", "So:", EDIT]),
    "harmony, the recipient first": ("", ("<|start|>", "<|end|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|call|>"), (), ' to=functions.edit<|channel|>commentary json<|message|>{"path": "a.py", "line": 3}', ["", "", EDIT]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_models_of_every_format_call_and_think(name, tmp_path):
    template, special, plain, answer, said = CASES[name]
    own = tokenizer(tmp_path / "model", template, special, plain)
    text = AnswerText(own, (), splitter=Splitter(known_formats(own)(None), None, CallReader(TOOLS)))
    tokens = [token for token in own.encode(answer, add_special_tokens=False) if token != own.eos_token_id]
    parts = joined([*(each for token in tokens for each in text.add(token)), *text.finish()])
    calls = [(call.name, json.loads(call.arguments)) for each in parts for call in each.calls]
    assert ["".join(each.reasoning for each in parts), "".join(each.text for each in parts), *calls] == said


def read(own, **prompt):
    model = SimpleNamespace(tokenizer=own, vocabulary=len(own), pictures=TEXT_ALONE, formats=known_formats(own))
    return read_prompt(model, Job("r", ChatPrompt(({"role": "user", "content": prompt.pop("content", "Hi")},), **prompt)))


def test_a_prompt_opens_the_reasoning_or_a_call(tmp_path):
    own = tokenizer(tmp_path / "model", QWEN3, (), (*THINK, *TAGS))
    assert read(own).opens == "text"
    assert read(own, content="Hi<think>\n").opens == "reasoning"
    assert read(own, content="<think> and").opens == "text"
    forced = Tools(TOOLS, must_call=True)
    begun = read(own, tools=forced)
    assert begun.opens == "call"
    assert own.decode(begun.token_ids).endswith("Hi<tool_call>")
    assert own.decode(read(own, content="Hi<think>\n", tools=forced).token_ids).endswith("Hi<think>\n\n</think>\n\n<tool_call>")


def test_a_model_without_tools_says_so(tmp_path):
    knows_none = tokenizer(tmp_path / "a", "{% set tools = none %}")
    with pytest.raises(InvalidJobError, match="no place for tools") as caught:
        read(knows_none, tools=Tools(TOOLS))
    assert caught.value.param == "tools"
    calls_somehow = tokenizer(tmp_path / "b", "")
    with pytest.raises(InvalidJobError, match="not known here"):
        read(calls_somehow, tools=Tools(TOOLS))
    assert read(calls_somehow).opens == "text"


def test_another_template_may_bring_another_format(tmp_path):
    own = tokenizer(tmp_path / "model", "")
    assert known_formats(own)(None).is_plain
    (call,) = known_formats(own)(QWEN3 + TELLS).calls.values()
    assert call.start == "<tool_call>"
    assert read(own, template=QWEN3 + TELLS, tools=Tools(TOOLS)).opens == "text"


def test_a_tokenizer_that_mlx_lm_did_not_load_is_known_too(tmp_path):
    own = tokenizer(tmp_path / "model", CODER, (), TAGS)
    del own._tokenizer.init_kwargs["tool_parser_type"]
    assert len(known_formats(TokenizerWrapper(own._tokenizer))(None).calls) == 2


def test_a_turn_of_messages_with_headers(tmp_path):
    own = tokenizer(tmp_path / "model", "{# <atem:function_calls> #}")
    transitions = {
        "header": [("to=self:", "reasoning"), ("to=user:", "normal"), ("<atem:function_calls>", "tool")],
        "reasoning": [("<|eom|>", "header")],
        "normal": [("<|eom|>", "header")],
    }
    own._response_format = {"initial_state": "header", "transitions": transitions}
    written = known_formats(own)(None)
    call = '<atem:invoke name="edit"><atem:parameter name="line">3</atem:parameter></atem:invoke>'
    splitter = Splitter(written, None, CallReader(TOOLS))
    said = splitter.add(f"to=self:Hm.<|eom|>to=user:So:<|eom|><atem:function_calls>{call}</atem:function_calls>")
    (part,) = joined([*said, *splitter.finish(is_whole=True)])
    assert (part.reasoning, part.text, part.calls[0].arguments) == ("Hm.", "So:", '{"line": 3}')


def test_an_answer_that_must_be_a_call_goes_on_from_its_beginning():
    assert HARMONY.call_begun("<|start|>assistant") == " to=functions."
    splitter = Splitter(HARMONY, "call", CallReader(TOOLS))
    (part,) = splitter.add('edit<|channel|>commentary json<|message|>{"line": 3}')
    assert part.calls[0].arguments == '{"line": 3}'
