"""Text on both sides of the scheduler: prompts into token ids, token ids into whole characters, stop texts."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from actors.contracts import ChatPrompt, Job, TokenPrompt, Tools
from actors.engine.answer_format import PLAIN, AnswerFormat
from actors.errors import InvalidJobError
from actors.ocr import Layout

_PROBE = "what words a template keeps"
_PROBE_TOOL = "which_tools_it_tells_of"
BROKEN = "\ufffd"  # what decoding shows where a character's last bytes have not come yet


# Arguments of transformers' `apply_chat_template` that say how to render and what to return, beside what it gives to the template
# itself. A request's variables of these names would change more than the prompt's words.
_RENDERING = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "sanitize_control_tokens",
        "self",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)


class Tokenizer(Protocol):
    """What a model's tokenizer can do; transformers' and mlx-lm's do."""

    chat_template: Any

    def __hash__(self) -> int:
        """Of itself: what is known of a tokenizer is kept with it."""
        ...

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Text to token ids."""
        ...

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Token ids to text."""
        ...

    def convert_ids_to_tokens(self, ids: int) -> str | None:
        """A token as the vocabulary spells it (in byte-level BPE's alphabet, with "▁" for a space, or as "<0xE4>"), if it does."""
        ...

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, Any]], *, tokenize: bool, add_generation_prompt: bool, **variables: Any
    ) -> str:
        """A conversation to the text that the model was trained on; by another template, if `chat_template` is among the variables."""
        ...


def encode_prompt(tokenizer: Tokenizer, vocabulary: int, job: Job, answers: AnswerFormat = PLAIN) -> tuple[int, ...]:
    """A job's prompt in token ids, at least one. Raises `InvalidJobError` when the model can't take it."""
    if isinstance(job.prompt, TokenPrompt):
        token_ids = job.prompt.token_ids
        _check_known(token_ids, vocabulary, "prompt")
    elif isinstance(job.prompt, ChatPrompt):
        token_ids = tuple(tokenizer.encode(chat_text(tokenizer, job.prompt, answers), add_special_tokens=False))
    else:
        token_ids = tuple(tokenizer.encode(job.prompt.text))
    if not token_ids:
        raise InvalidJobError("The prompt is empty.", prompt_field(job))
    return token_ids


def check_parameters(vocabulary: int, job: Job) -> None:
    """Raise `InvalidJobError` when a parameter names a token that the model doesn't have."""
    _check_known(job.sampling.logit_bias, vocabulary, "logit_bias")
    _check_known(job.stop_token_ids, vocabulary, "stop_token_ids")


def _check_known(token_ids: Iterable[int], vocabulary: int, param: str) -> None:
    unknown = next((token for token in token_ids if not 0 <= token < vocabulary), None)
    if unknown is not None:
        raise InvalidJobError(f"Invalid '{param}': this model has no token {unknown}; its ids are 0 to {vocabulary - 1}.", param)


def prompt_field(job: Job) -> str:
    """The request's field that the prompt came in."""
    return "messages" if isinstance(job.prompt, ChatPrompt) else "prompt"


def chat_text(tokenizer: Tokenizer, prompt: ChatPrompt, answers: AnswerFormat = PLAIN) -> str:
    """A conversation as its template words it. Raises `InvalidJobError` where that can't be.

    Args:
        tokenizer: The model's.
        prompt: The conversation.
        answers: How the model answers; an answer that must be a call is begun so.
    """
    if not tokenizer.chat_template and prompt.template is None:
        raise InvalidJobError("This model has no chat template; send its text to /v1/completions instead.", "messages")
    taken = _RENDERING & prompt.variables.keys()
    if taken:
        message = f"Invalid 'chat_template_kwargs': {', '.join(sorted(taken))} can't be set; it is no variable of the template."
        raise InvalidJobError(message, "chat_template_kwargs")
    # Left out where there is none to give: some models' templates are functions, which know no such argument.
    other: dict[str, Any] = {} if prompt.template is None else {"chat_template": prompt.template}
    if prompt.tools is not None:
        other["tools"] = [dict(tool) for tool in prompt.tools.functions]
    as_parts = takes_parts(tokenizer, prompt.template) and (
        any(isinstance(message.get("content"), list) for message in prompt.messages)
        or not takes_texts(tokenizer, prompt.template)
    )
    try:
        text = tokenizer.apply_chat_template(
            [_in_parts(message) if as_parts else dict(message) for message in prompt.messages],
            tokenize=False,
            add_generation_prompt=True,
            **other,
            **prompt.variables,
        )
    except Exception as error:
        # Templates are programs of their own and refuse what they don't know (a role, an order of turns).
        whose = "The model's" if prompt.template is None else "The"
        raise InvalidJobError(f"{whose} chat template refused the messages: {error}", "messages") from error
    return text + answers.call_begun(text) if prompt.tools is not None and prompt.tools.must_call else text


@lru_cache(64)
def takes_tools(tokenizer: Tokenizer, template: str | None) -> bool:
    """Whether a template, or the tokenizer's own for None, tells the model of tools."""
    parameters = {"type": "object", "properties": {"x": {"type": "string", "description": "x"}}, "required": ["x"]}
    function = {"name": _PROBE_TOOL, "description": "x", "parameters": parameters}
    prompt = ChatPrompt(
        ({"role": "user", "content": _PROBE},), template, tools=Tools(({"type": "function", "function": function},))
    )
    try:
        return _PROBE_TOOL in chat_text(tokenizer, prompt)
    except InvalidJobError:
        return False


@lru_cache(64)
def takes_texts(tokenizer: Tokenizer, template: str | None) -> bool:
    """Whether a template, or the tokenizer's own for None, words a message whose content is one text. Many for pictures don't."""
    return _words(tokenizer, template, _PROBE)


@lru_cache(64)
def takes_parts(tokenizer: Tokenizer, template: str | None) -> bool:
    """Whether it words one whose content is a list of parts."""
    return _words(tokenizer, template, [{"type": "text", "text": _PROBE}])


def _words(tokenizer: Tokenizer, template: str | None, content: object) -> bool:
    other = {} if template is None else {"chat_template": template}
    message = {"role": "user", "content": content}
    try:
        text = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True, **other)
    except Exception:  # templates are programs of their own
        return False
    return text.count(_PROBE) == 1 and "'type'" not in text  # else it printed the list itself


def _in_parts(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    return {**message, "content": [{"type": "text", "text": content}] if isinstance(content, str) else content}


class Detokenizer:
    """Turns a growing list of tokens into text that only ever grows by whole characters.

    Decoding a token alone loses what its neighbours decide (a leading space, a character split over tokens), and
    decoding everything each time is quadratic. So a short window is decoded with and without the new tokens, and the
    difference is given out once it doesn't end in a broken character (the method of text-generation-inference).
    """

    def __init__(self, tokenizer: Tokenizer, layout: Layout | None = None) -> None:
        self._decode = _decoder(tokenizer, layout)
        self._tokens: list[int] = []
        self._shown = 0  # tokens whose text has been given out
        self._window = 0  # where the window starts: some tokens before `_shown`, for their influence

    def add(self, token: int) -> str:
        """Take the next token; the text that is certain now and was not before."""
        self._tokens.append(token)
        text = self._new_text()
        if not text or text.endswith(BROKEN):
            return ""
        self._window, self._shown = self._shown, len(self._tokens)
        return text

    def flush(self) -> str:
        """What is left at the end, without a character that never became whole."""
        text = self._new_text().rstrip(BROKEN)
        self._window = self._shown = len(self._tokens)
        return text

    def _new_text(self) -> str:
        before = self._decode(self._tokens[self._window : self._shown])
        return self._decode(self._tokens[self._window :])[len(before) :]


def _decoder(tokenizer: Tokenizer, layout: Layout | None) -> Callable[[list[int]], str]:
    """The shortest way to a text without special tokens: past the wrappers, which take as long again, where they add nothing.

    Special tokens that are marks of layout stay: a box without the marks around it would be numbers in the text.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or getattr(tokenizer, "clean_up_tokenization_spaces", False):
        backend = tokenizer
    hidden = None if layout is None else special_tokens(tokenizer, layout)

    def decode(token_ids: list[int]) -> str:
        if hidden is None:
            text: str = backend.decode(token_ids, skip_special_tokens=True)
        else:
            text = backend.decode([token for token in token_ids if token not in hidden], skip_special_tokens=False)
        return text

    return decode


@lru_cache(16)
def special_tokens(tokenizer: Tokenizer, layout: Layout | None = None) -> Mapping[int, str]:
    """The texts of the special tokens that no answer shows by itself, by their ids: those which aren't marks of layout."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    marks = None if layout is None else re.compile(layout.marks)
    special = {token: str(its.content) for token, its in added.items() if its.special}
    return {token: text for token, text in special.items() if marks is None or not marks.fullmatch(text)}


class StopMatcher:
    """Ends a text at the first of several stop texts, and holds back what may yet become one.

    Attributes:
        matched: The one that came; empty before that.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.matched = ""

    def add(self, text: str) -> str:
        """Take more text; what can be shown of it. After a match, nothing more is."""
        if not self._stop:
            return text
        if self.matched:
            return ""
        self._held += text
        found = [(at, -len(stop), stop) for at, stop in ((self._held.find(stop), stop) for stop in self._stop) if at >= 0]
        if found:
            at, _, self.matched = min(found)
            shown, self._held = self._held[:at], ""
            return shown
        keep = self._possible_start()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def flush(self) -> str:
        """What was held back, now that no more text comes."""
        shown, self._held = self._held, ""
        return shown

    def _possible_start(self) -> int:
        """How many characters at the end are the beginning of a stop text."""
        longest = min(max(map(len, self._stop)) - 1, len(self._held))
        return next(
            (n for n in range(longest, 0, -1) if any(stop.startswith(self._held[-n:]) for stop in self._stop)),
            0,
        )
