"""What clients send to have texts embedded and what they get: OpenAI's shapes."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from omlx.api.openai import MAX_TOKENS, ModelName, Received, TokenIds, refuse_unless

MAX_INPUTS = 2048
_FORMS = "Input should be a string, a list of token ids, or a list of these"

_Text = Annotated[str, Field(min_length=1)]
_Tokens = Annotated[TokenIds, Field(min_length=1)]


def _kind(value: Any) -> str | None:
    if isinstance(value, list):
        return "inputs" if value and isinstance(value[0], str | list) else "tokens"
    return "text" if isinstance(value, str) else None


def _item_kind(value: Any) -> str | None:
    return "tokens" if isinstance(value, list) else "text" if isinstance(value, str) else None


_Item = Annotated[
    Annotated[_Text, Tag("text")] | Annotated[_Tokens, Tag("tokens")],
    Discriminator(
        _item_kind, custom_error_type="input_type", custom_error_message="Input should be a string or a list of token ids"
    ),
]
Input = Annotated[
    Annotated[_Text, Tag("text")]
    | Annotated[_Tokens, Tag("tokens")]
    | Annotated[list[_Item], Field(max_length=MAX_INPUTS), Tag("inputs")],
    Discriminator(_kind, custom_error_type="input_type", custom_error_message=_FORMS),
]


class CutRequest(Received):
    """A request about texts that may be longer than the model takes."""

    truncate_prompt_tokens: Annotated[
        int | None,
        refuse_unless(
            lambda tokens: tokens in (None, -1), "'truncate_prompt_tokens' can only be -1: texts are cut to what the model takes."
        ),
        Field(description="vLLM's name for `truncate`, for which -1 stands."),
    ] = None


class EmbeddingRequest(CutRequest):
    """The body of `POST /v1/embeddings`."""

    model: ModelName = ""
    input: Input
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[
        int | None, Field(ge=1, le=MAX_TOKENS, description="How many of each vector's first numbers to give, normalised again.")
    ] = None
    truncate: Annotated[bool, Field(description="Whether texts that are too long are cut; else they are refused.")] = False

    @property
    def inputs(self) -> list[str | list[int]]:
        """What to embed, in order."""
        given = self.input
        if isinstance(given, str):
            return [given]
        return [given] if isinstance(given[0], int) else given

    @property
    def cuts(self) -> bool:
        """Whether texts that are too long are cut, however the client says so."""
        return self.truncate or self.truncate_prompt_tokens is not None


class Embedding(BaseModel):
    """One text's vector: its numbers, or in base64 their bytes as little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class ReadingUsage(BaseModel):
    """How many tokens were read; nothing is generated, so both are the same."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The vectors of all texts, in their order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: ReadingUsage
