"""Anthropic's wire format: what clients of the Messages API send and what they get. See `omlx.api.openai` for the rules."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from omlx.api.openai import MAX_TOKENS, ModelName, Received, is_empty, refuse_unless, wrong

_MAX_STOPS = 16


class TextBlock(Received):
    """A text."""

    type: Literal["text"] = "text"
    text: str


class ImageSource(Received):
    """A picture: its data, or where it is."""

    type: Annotated[
        str,
        refuse_unless(
            lambda kind: kind in ("base64", "url"), "Pictures are taken as 'base64' or by 'url'; no files are kept here."
        ),
    ]
    media_type: str = "image/png"
    data: Annotated[str, Field(validate_default=True)] = ""
    url: Annotated[str, Field(validate_default=True)] = ""

    @field_validator("data", "url")
    @classmethod
    def _what_the_type_says_is_there(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("type") == {"data": "base64", "url": "url"}[info.field_name or ""]:
            raise PydanticCustomError("missing", "Field required")
        return value

    @property
    def as_url(self) -> str:
        """What it is for `omlx.api.images`."""
        return f"data:{self.media_type};base64,{self.data}" if self.type == "base64" else self.url


class ImageBlock(Received):
    """A picture."""

    type: Literal["image"]
    source: ImageSource


class ThinkingBlock(Received):
    """What the model said to itself. Its `signature` isn't checked."""

    type: Literal["thinking"]
    thinking: str


class RedactedThinkingBlock(Received):
    """The same, for nobody to read: another server's, and left out."""

    type: Literal["redacted_thinking"]


class ToolUseBlock(Received):
    """A tool that the model called."""

    type: Literal["tool_use"]
    id: str
    name: Annotated[str, Field(min_length=1)]
    input: dict[str, Any] = Field(default_factory=dict)


def _content_kind(value: Any) -> str | None:
    return "text" if isinstance(value, str) else "blocks" if isinstance(value, list) else None


_CONTENT_ERROR = {"custom_error_type": "content_type", "custom_error_message": "Input should be a string or a list of blocks"}


class ToolResultBlock(Received):
    """What came of a call."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[Annotated[TextBlock | ImageBlock, Discriminator("type")]], Tag("blocks")],
        Discriminator(_content_kind, **_CONTENT_ERROR),
    ] = ""
    is_error: bool = False


Block = TextBlock | ImageBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock | ToolResultBlock


class Turn(Received):
    """One turn of a conversation. Turns of the system are put among the user's words."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[Annotated[Block, Discriminator("type")]], Tag("blocks")],
        Discriminator(_content_kind, **_CONTENT_ERROR),
    ]


class ToolParam(Received):
    """A tool that the model may use."""

    type: Annotated[
        str,
        refuse_unless(
            lambda kind: kind == "custom",
            "Tools that Anthropic's servers run or define are not supported: leave out those with a 'type'.",
        ),
    ] = "custom"
    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str = ""
    input_schema: Annotated[dict[str, Any], Field(description="A JSON schema.")]


class ToolChoiceParam(Received):
    """Whether a tool is to be used, and which."""

    type: Literal["auto", "any", "tool", "none"] = "auto"
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(Received):
    """Whether the model is to think first. `budget_tokens` is taken, and not followed."""

    type: Literal["enabled", "adaptive", "disabled"]


class Metadata(Received):
    """Whose request it is."""

    user_id: Annotated[str, Field(description="Users share a model fairly.")] = ""


class OutputConfig(Received):
    """`effort` is taken, and not followed."""

    format: Annotated[dict[str, Any], refuse_unless(is_empty, "Answers are plain text; other formats are not supported.")] = (
        Field(default_factory=dict)
    )


def _as_blocks(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class CountRequest(Received):
    """The body of `POST /v1/messages/count_tokens`: a conversation."""

    model: ModelName = ""
    messages: Annotated[list[Turn], Field(min_length=1)]
    system: Annotated[list[TextBlock], BeforeValidator(_as_blocks, json_schema_input_type=str | list[TextBlock])] = Field(
        default_factory=list
    )
    tools: list[ToolParam] = Field(default_factory=list)
    tool_choice: ToolChoiceParam = ToolChoiceParam()
    thinking: Thinking | None = None
    mcp_servers: Annotated[list[Any], refuse_unless(is_empty, "This server calls no MCP servers; clients do.")] = Field(
        default_factory=list
    )

    @field_validator("messages")
    @classmethod
    def _an_answer_is_not_begun(cls, messages: list[Turn]) -> list[Turn]:
        if messages[-1].role == "assistant":
            raise PydanticCustomError(
                "assistant_last", "The last one may not be the assistant's: answers can't be begun for the model"
            )
        return messages

    @model_validator(mode="after")
    def _the_chosen_tool_is_there(self) -> Self:
        choice = self.tool_choice
        if choice.type == "any" and not self.tools:
            raise wrong("tool_choice", "of no use without 'tools'")
        if choice.type == "tool" and choice.name not in {tool.name for tool in self.tools}:
            raise wrong("tool_choice", f"there is no '{choice.name}' among the 'tools'")
        return self


class MessagesRequest(CountRequest):
    """The body of `POST /v1/messages`."""

    stream: bool = False
    max_tokens: Annotated[int | None, Field(ge=1, le=MAX_TOKENS)] = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] = 1.0
    top_k: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] = 0
    stop_sequences: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=_MAX_STOPS)] = Field(
        default_factory=list
    )
    metadata: Metadata = Metadata()
    output_config: OutputConfig = OutputConfig()


class MessageUsage(BaseModel):
    """What a request took, in tokens. The prompt's are `input_tokens` and `cache_read_input_tokens` together."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int
    output_tokens: int


StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class MessageAnswer(BaseModel):
    """A whole answer: blocks of the types `thinking`, `text` and `tool_use`."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: Sequence[Mapping[str, Any]]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage


class TokenCount(BaseModel):
    """How many tokens a conversation is."""

    input_tokens: int


class AnthropicErrorDetail(BaseModel):
    """Why a request failed."""

    type: str
    message: str


class AnthropicError(BaseModel):
    """The body of every answer of these routes that is an error."""

    type: Literal["error"] = "error"
    error: AnthropicErrorDetail
    request_id: str
