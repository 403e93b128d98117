"""A job's prompt as the scheduler gets it: token ids, and what stands for those that are no text."""

from dataclasses import dataclass
from typing import Protocol

from actors.contracts import ChatPrompt, Job
from actors.engine.text import Tokenizer, encode_prompt
from actors.errors import InvalidJobError


@dataclass(frozen=True, slots=True)
class Prompt:
    """What `scheduler.request.Request` takes of it.

    Attributes:
        token_ids: At least one. With a negative number for each part of a picture, the same for the same picture.
        inputs: What the model gets in place of those; None for text alone.
    """

    token_ids: tuple[int, ...]
    inputs: object | None = None


class ReadsPictures(Protocol):
    """What makes a prompt of a conversation with pictures."""

    def read(self, tokenizer: Tokenizer, prompt: ChatPrompt, /) -> Prompt:
        """The prompt. Raises `InvalidJobError` for a picture or a conversation that can't be read. Called by one thread at a time."""
        ...


@dataclass(frozen=True, slots=True)
class NoPictures:
    """Refuses pictures, and says why. See `ReadsPictures`."""

    reason: str

    def read(self, _tokenizer: Tokenizer, prompt: ChatPrompt) -> Prompt:
        """Raises `InvalidJobError`."""
        raise InvalidJobError(f"This model takes no pictures: {self.reason}.", prompt.images[0].param)


TEXT_ALONE = NoPictures("it is one for text alone")


def read_prompt(tokenizer: Tokenizer, vocabulary: int, pictures: ReadsPictures, job: Job) -> Prompt:
    """A job's prompt. Raises `InvalidJobError` when the model can't take it."""
    if not isinstance(job.prompt, ChatPrompt) or not job.prompt.images:
        return Prompt(encode_prompt(tokenizer, vocabulary, job))
    return pictures.read(tokenizer, job.prompt)
