"""Texts and pairs of texts as rows of tokens: no longer than the model takes, cut only where that is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from actors.contracts import EmbedJob, RerankJob, TextPrompt
from actors.engine.encoder_backend import Row
from actors.errors import ContextLengthError, InvalidJobError

# What Qwen's rerankers were trained on: the model's card.
_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
_JUDGE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_ANSWER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


class BatchTokenizer(Protocol):
    """What transformers' tokenizers do with several texts at once."""

    def __call__(self, text: Sequence[str], text_pair: Sequence[str] | None = None, **options: Any) -> Mapping[str, Any]:
        """`input_ids` of each, and `token_type_ids` where the model wants them."""
        ...


class Texts:
    """Reads an embedding job's inputs.

    Args:
        tokenizer: The model's.
        longest: Tokens of a row.
        vocabulary: How many token ids the model knows, from 0.
        prefix: Before each text; token ids are taken as they stand.
    """

    def __init__(self, tokenizer: BatchTokenizer, longest: int, vocabulary: int, prefix: str = "") -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        self._vocabulary = vocabulary
        self._prefix = prefix

    def read(self, job: EmbedJob, start: int, stop: int) -> Sequence[Row]:
        """See `actors.engine.encoder_backend.Encoder`."""
        inputs = job.inputs[start:stop]
        params = [job.param if len(job.inputs) == 1 else f"{job.param}.{place}" for place in range(start, start + len(inputs))]
        for given, param in zip(inputs, params, strict=True):
            _check_text(given.text if isinstance(given, TextPrompt) else given.token_ids, param)
        texts = [self._prefix + given.text for given in inputs if isinstance(given, TextPrompt)]
        read = iter(_tokens(self._tokenizer(texts, verbose=False)) if texts else ())
        rows = []
        for given, param in zip(inputs, params, strict=True):
            tokens = next(read) if isinstance(given, TextPrompt) else self._known(given.token_ids, param)
            if len(tokens) > self._longest:
                _check_cut(job, len(tokens), self._longest, param)
                tokens = self._cut(given.text) if isinstance(given, TextPrompt) else tokens[: self._longest]
            _check_text(tokens, param)
            rows.append(Row(tokens, dimensions=job.dimensions))
        return rows

    def _known(self, token_ids: Sequence[int], param: str) -> Sequence[int]:
        unknown = next((token for token in token_ids if not 0 <= token < self._vocabulary), None)
        if unknown is not None:
            raise InvalidJobError(
                f"Invalid '{param}': this model has no token {unknown}; its ids are 0 to {self._vocabulary - 1}.", param
            )
        return token_ids

    def _cut(self, text: str) -> Sequence[int]:
        # By the tokenizer, so that the token that ends a text still does.
        return next(_tokens(self._tokenizer([self._prefix + text], truncation=True, max_length=self._longest)))


class Pairs:
    """Reads a query with each document, for a classifier of pairs.

    Args:
        tokenizer: The model's.
        longest: Tokens of a pair.
        segments: Whether the model wants to know which of both a token is of.
    """

    def __init__(self, tokenizer: BatchTokenizer, longest: int, *, segments: bool) -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        self._segments = segments

    def read(self, job: RerankJob, start: int, stop: int) -> Sequence[Row]:
        """See `actors.engine.encoder_backend.Encoder`."""
        documents = _checked_documents(job, start, stop)
        rows = self._rows(job.query, documents, verbose=False)
        for place, row in enumerate(rows):
            if len(row.tokens) > self._longest:
                _check_cut(job, len(row.tokens), self._longest, f"documents.{start + place}")
                (rows[place],) = self._rows(job.query, documents[place : place + 1], truncation=True, max_length=self._longest)
        return rows

    def _rows(self, query: str, documents: Sequence[str], **options: Any) -> list[Row]:
        read = self._tokenizer([query] * len(documents), list(documents), return_token_type_ids=self._segments, **options)
        segments = read["token_type_ids"] if self._segments else [()] * len(documents)
        return [Row(tokens, kinds) for tokens, kinds in zip(read["input_ids"], segments, strict=True)]


class Questions:
    """Reads a query with each document as a question that a language model answers with yes or no: Qwen's wording.

    Args:
        tokenizer: The model's.
        longest: Tokens of a question.
    """

    def __init__(self, tokenizer: BatchTokenizer, longest: int) -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        self._before, self._after = self._plain([_JUDGE, _ANSWER])

    def read(self, job: RerankJob, start: int, stop: int) -> Sequence[Row]:
        """See `actors.engine.encoder_backend.Encoder`."""
        documents = _checked_documents(job, start, stop)
        asked = f"<Instruct>: {_INSTRUCTION}\n<Query>: {job.query}\n<Document>: "
        room = self._longest - len(self._before) - len(self._after)
        rows = []
        for place, tokens in enumerate(self._plain([asked + document for document in documents])):
            if len(tokens) > room:
                _check_cut(job, len(tokens) + self._longest - room, self._longest, f"documents.{start + place}")
            rows.append(Row([*self._before, *tokens[:room], *self._after]))
        return rows

    def _plain(self, texts: list[str]) -> list[list[int]]:
        return list(_tokens(self._tokenizer(texts, add_special_tokens=False, verbose=False)))


Read = Callable[[Any, int, int], Sequence[Row]]


def _tokens(read: Mapping[str, Any]) -> Iterator[list[int]]:
    yield from read["input_ids"]


def _checked_documents(job: RerankJob, start: int, stop: int) -> Sequence[str]:
    _check_text(job.query, "query")
    documents = job.documents[start:stop]
    for place, document in enumerate(documents):
        _check_text(document, f"documents.{start + place}")
    return documents


def _check_text(text: Sequence[Any], param: str) -> None:
    if not text:
        raise InvalidJobError(f"'{param}' is empty.", param)
    if isinstance(text, str) and not _is_unicode(text):
        raise InvalidJobError(f"'{param}' has half a surrogate pair in it, which is no character.", param)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_cut(job: EmbedJob | RerankJob, tokens: int, longest: int, param: str) -> None:
    if not job.truncate:
        raise ContextLengthError(tokens, longest, param, answers=False)
