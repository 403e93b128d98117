"""A job's prompt as the scheduler gets it: token ids, and what stands for those that are no text."""

from dataclasses import dataclass, replace
from typing import Protocol

from actors.contracts import ChatPrompt, Job
from actors.engine.answer_format import PLAIN, AnswerFormat, AnswerFormats
from actors.engine.text import Tokenizer, encode_prompt, takes_tools
from actors.errors import InvalidJobError


@dataclass(frozen=True, slots=True)
class Prompt:
    """What `scheduler.request.Request` takes of it.

    Attributes:
        token_ids: At least one. With a negative number for each part of a picture, the same for the same picture.
        inputs: What the model gets in place of those; None for text alone.
        answers: How the model answers it.
        opens: The stretch of the answer that it has opened, of `AnswerFormat.stretches`; None where it is no conversation.
    """

    token_ids: tuple[int, ...]
    inputs: object | None = None
    answers: AnswerFormat = PLAIN
    opens: str | None = None


class ReadsPictures(Protocol):
    """What makes a prompt of a conversation with pictures."""

    def read(self, tokenizer: Tokenizer, prompt: ChatPrompt, answers: AnswerFormat, /) -> Prompt:
        """The prompt. Raises `InvalidJobError` for a picture or a conversation that can't be read. Called by one thread at a time."""
        ...


@dataclass(frozen=True, slots=True)
class NoPictures:
    """Refuses pictures, and says why. See `ReadsPictures`."""

    reason: str

    def read(self, _tokenizer: Tokenizer, prompt: ChatPrompt, _answers: AnswerFormat) -> Prompt:
        """Raises `InvalidJobError`."""
        raise InvalidJobError(f"This model takes no pictures: {self.reason}.", prompt.images[0].param)


TEXT_ALONE = NoPictures("it is one for text alone")
_TAIL = 64  # tokens at a prompt's end, within which a template opens an answer


class Reader(Protocol):
    """What a prompt is read by: all of a model that has to do with text and pictures. See `actors.engine.backend.Backend`."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def vocabulary(self) -> int: ...
    @property
    def pictures(self) -> ReadsPictures: ...
    @property
    def formats(self) -> AnswerFormats: ...


def read_prompt(reader: Reader, job: Job) -> Prompt:
    """A job's prompt. Raises `InvalidJobError` when the model can't take it. Called by one thread at a time."""
    if not isinstance(job.prompt, ChatPrompt):
        return Prompt(encode_prompt(reader.tokenizer, reader.vocabulary, job))
    answers = reader.formats(job.prompt.template)
    _check_tools(reader.tokenizer, job.prompt, answers)
    if job.prompt.images:
        prompt = reader.pictures.read(reader.tokenizer, job.prompt, answers)
    else:
        prompt = Prompt(encode_prompt(reader.tokenizer, reader.vocabulary, job, answers))
    return replace(prompt, answers=answers, opens=_opened(reader.tokenizer, job.prompt, prompt, answers))


def _opened(tokenizer: Tokenizer, chat: ChatPrompt, prompt: Prompt, answers: AnswerFormat) -> str:
    """The stretch that an answer begins in."""
    if chat.tools is not None and chat.tools.must_call:
        return next(iter(answers.calls))
    return answers.opened_by(tokenizer.decode([token for token in prompt.token_ids[-_TAIL:] if token >= 0]))


def _check_tools(tokenizer: Tokenizer, prompt: ChatPrompt, answers: AnswerFormat) -> None:
    """Raise `InvalidJobError` where there are tools and the model knows nothing of such, or nobody could tell what it calls."""
    if prompt.tools is None:
        return
    if not takes_tools(tokenizer, prompt.template):
        whose = "This model's" if prompt.template is None else "The"
        raise InvalidJobError(f"{whose} chat template has no place for tools: leave 'tools' out, or take another model.", "tools")
    if not answers.calls:
        raise InvalidJobError(
            "How this model writes its calls of tools is not known here, so none could be told from text: leave 'tools' out.",
            "tools",
        )
