"""What clients send to have documents ranked and what they get: the shapes of Jina and of Cohere, which differ little."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from omlx.api.embedding_shapes import MAX_INPUTS, CutRequest, ReadingUsage
from omlx.api.openai import ModelName, Received, is_empty, refuse_unless

_Text = Annotated[str, Field(min_length=1)]


class Document(Received):
    """A text to be judged. What else it has goes back to the client as it came."""

    model_config = ConfigDict(extra="allow")

    text: _Text


def _as_document(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class RerankRequest(CutRequest):
    """The body of `POST /v1/rerank` and `POST /v2/rerank`."""

    model: ModelName = ""
    query: _Text
    documents: Annotated[
        list[Annotated[Document, BeforeValidator(_as_document, json_schema_input_type=str | Document)]],
        Field(min_length=1, max_length=MAX_INPUTS),
    ]
    top_n: Annotated[int | None, Field(ge=1, description="How many results to give, the best; left out, all.")] = None
    return_documents: Annotated[bool, Field(description="Whether each result has its document.")] = False
    truncate: Annotated[bool, Field(description="Whether documents that are too long are cut; else they are refused.")] = True
    rank_fields: Annotated[
        list[str] | None,
        refuse_unless(
            lambda names: names in (None, ["text"]), "Documents are judged by their 'text' alone; leave 'rank_fields' out."
        ),
    ] = None
    max_chunks_per_doc: Annotated[
        int | None,
        refuse_unless(
            lambda chunks: chunks in (None, 1),
            "Documents are judged in one piece; leave 'max_chunks_per_doc' out, or have it be 1.",
        ),
    ] = None
    max_tokens_per_doc: Annotated[
        int | None,
        refuse_unless(is_empty, "Documents are cut to what the model takes, or not at all; leave 'max_tokens_per_doc' out."),
    ] = None
    relevant_spans: Annotated[
        dict[str, Any] | None,
        refuse_unless(
            lambda spans: spans is None or spans.get("mode") == "disabled", "'relevant_spans' is not supported; leave it out."
        ),
    ] = None
    instruction: Annotated[str, refuse_unless(is_empty, "'instruction' is not supported; leave it out or empty.")] = ""


class Result(BaseModel):
    """A document's place.

    Attributes:
        index: Which of the request's documents it is, from 0.
        relevance_score: From 0 to 1.
        document: Where the client asked for it; left out otherwise.
    """

    index: int
    relevance_score: float
    document: Document | None = None


class ApiVersion(BaseModel):
    """Which of Cohere's interfaces was used."""

    version: str


class BilledUnits(BaseModel):
    """What Cohere would count: a unit for each hundred documents."""

    search_units: int


class Tokens(BaseModel):
    """How many tokens were read, as Cohere has it."""

    input_tokens: int


class Meta(BaseModel):
    """What Cohere says beside the results."""

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: Tokens


class Ranking(BaseModel):
    """The documents, most relevant first."""

    id: str
    model: str
    results: list[Result]
    usage: ReadingUsage
    meta: Meta
