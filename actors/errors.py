"""Every error that crosses a process, as one tree.

    OmlxError
    ├── ModelNotFoundError        no such model on disk
    ├── ModelLoadError            the model's engine did not come up
    ├── EngineError               the engine that served the request is gone or broke
    ├── QueueFullError            as many requests wait as may; says when to try again
    ├── RequestTimeoutError       the request took longer than it said it may
    ├── InsufficientMemoryError   the model doesn't fit beside those that can't go
    ├── WrongModelTypeError       the model is for something else
    ├── InvalidSettingError       a setting's value can't be
    ├── StaleRevisionError        somebody else changed the settings meanwhile
    ├── InvalidJobError           the request can't be run as asked; names the field
    │   └── ContextLengthError    the prompt doesn't fit the model's context
    └── CatalogError              the catalog can't be reached

They carry plain values and pickle, so they arrive on the other side as they were raised.
"""

from collections.abc import Sequence


class OmlxError(Exception):
    """The root: something that a caller can be told about in its own words."""

    def __reduce__(self) -> tuple[object, ...]:
        # Not by the arguments of __init__, which differ from class to class.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(cls: type[OmlxError], args: tuple[object, ...], state: dict[str, object]) -> OmlxError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ModelNotFoundError(OmlxError):
    """No model of this id is on disk."""

    def __init__(self, model_id: str, available: Sequence[str]) -> None:
        self.model_id = model_id
        self.available = tuple(available)
        there = ", ".join(self.available) or "none; `omlx pull demo` fetches one"
        super().__init__(f"The model '{model_id}' does not exist. Models here: {there}.")


class ModelLoadError(OmlxError):
    """A model is on disk, but its engine did not come up."""

    def __init__(self, model_id: str, reason: str) -> None:
        self.model_id = model_id
        self.reason = reason
        super().__init__(f"The model '{model_id}' could not be loaded: {reason}")


class EngineError(OmlxError):
    """The engine that served a request is gone or broke; the request may be sent again."""

    def __init__(self, model_id: str, reason: str) -> None:
        self.model_id = model_id
        self.reason = reason
        super().__init__(f"The engine of '{model_id}' stopped: {reason}")


class QueueFullError(OmlxError):
    """As many requests wait for a model as may.

    Attributes:
        retry_after: Seconds after which there should be room, at least 1.
    """

    def __init__(self, model_id: str, waiting: int, retry_after: int) -> None:
        self.model_id = model_id
        self.retry_after = retry_after
        super().__init__(
            f"{waiting} requests are waiting for '{model_id}', which is as many as may. Try again in {retry_after} s."
        )


class RequestTimeoutError(OmlxError):
    """A request took longer than it said it may."""


class InvalidJobError(OmlxError):
    """A request can't be run as asked."""

    def __init__(self, message: str, param: str | None = None) -> None:
        self.param = param
        super().__init__(message)


class ContextLengthError(InvalidJobError):
    """A prompt doesn't fit the model's context, or a text what an encoder takes.

    Args:
        answers: Whether there must be room for an answer too.
    """

    def __init__(self, prompt_tokens: int, context_length: int, param: str, *, answers: bool = True) -> None:
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length
        super().__init__(
            f"This model's context length is {context_length} tokens, and the prompt has {prompt_tokens}, "
            f"which leaves no room for an answer. Shorten '{param}'."
            if answers
            else f"This model takes at most {context_length} tokens, and '{param}' has {prompt_tokens}. Shorten it, or have it truncated.",
            param,
        )


class CatalogError(OmlxError):
    """The catalog can't be reached."""


class InvalidSettingError(OmlxError):
    """A setting can't have this value, or there is no such setting."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


class StaleRevisionError(OmlxError):
    """Settings were changed by somebody else since they were read."""

    def __init__(self, given: str, present: str) -> None:
        self.present = present
        super().__init__(
            f"The settings have changed since they were read (revision {given}; it is {present} now). Read them again and repeat."
        )


class InsufficientMemoryError(OmlxError):
    """A model doesn't fit the memory that models may take.

    Attributes:
        needed, free: Bytes.
        unloadable: Models that could be unloaded by hand to make room: those that are pinned or busy.
    """

    def __init__(self, model_id: str, needed: int, free: int, budget: int, unloadable: Sequence[str]) -> None:
        self.model_id = model_id
        self.needed = needed
        self.free = free
        self.unloadable = tuple(unloadable)
        help_ = f"These could be unloaded: {', '.join(unloadable)}." if unloadable else "Nothing could be unloaded."
        super().__init__(
            f"The model '{model_id}' needs {needed / 1e9:.2f} GB, and {max(free, 0) / 1e9:.2f} GB of the {budget / 1e9:.2f} GB for models "
            f"are free. {help_}"
        )


class WrongModelTypeError(OmlxError):
    """A model isn't for what was asked of it.

    Args:
        model_id: The model.
        type_: What it is for.
        endpoint: What can't use it.
        instead: What can, if anything does.
    """

    def __init__(self, model_id: str, type_: str, endpoint: str, instead: str | None = None) -> None:
        self.model_id = model_id
        article = "an" if type_ in ("embedding", "ocr", "llm") else "a"
        help_ = f" It is for {instead}." if instead else ""
        super().__init__(f"'{model_id}' is {article} {type_} model, which {endpoint} can't use.{help_}")
