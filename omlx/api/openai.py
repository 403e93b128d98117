"""OpenAI's wire format: what clients send and what they get. Knows nothing of how a request is answered.

Unknown fields are accepted, and null stands for an absent field. A field that would change the answer and that this
server doesn't follow is refused by name.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NotRequired, Self, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic takes the standard one from Python 3.12 on

from actors.models import ModelType
from omlx.api.capabilities import Capability
from scheduler.sampling import MAX_TOP_LOGPROBS

UNSUPPORTED = "unsupported_parameter"
AT_ODDS = "fields_at_odds"
MAX_TOKENS = (1 << 31) - 1
_MAX_STOPS = 16
_MAX_CHOICES = 128

_Value = TypeVar("_Value")


def refuse_unless(harmless: Callable[[Any], bool], reason: str) -> AfterValidator:
    """Refuses the values of a field that would have to be followed and aren't."""

    def check(value: Any) -> Any:
        if not harmless(value):
            raise PydanticCustomError(UNSUPPORTED, "{reason}", {"reason": reason})
        return value

    return AfterValidator(check)


def wrong(name: str, reason: str) -> PydanticCustomError:
    """A field that is wrong beside another one; validation of the whole can't say where otherwise."""
    return PydanticCustomError(AT_ODDS, "Invalid '{name}': {reason}.", {"name": name, "reason": reason})


def is_empty(value: Any) -> bool:
    """Whether a value stands for nothing."""
    return not value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _content_kind(value: Any) -> str | None:
    return "text" if isinstance(value, str) else "parts" if isinstance(value, list) else None


def _prompt_kind(value: Any) -> str | None:
    if isinstance(value, list) and value:
        return "prompts" if isinstance(value[0], str | list) else "tokens"
    return "text" if isinstance(value, str) else None


class Received(BaseModel):
    """An object of a request's body, in which null means absent."""

    @model_validator(mode="before")
    @classmethod
    def _null_means_absent(cls, data: Any) -> Any:
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data


class ImageUrl(Received):
    """A picture: its data, or where it is."""

    url: str
    detail: Annotated[
        Literal["auto", "low", "high"], Field(description="Taken, and not followed: models scale pictures by rules of their own.")
    ] = "auto"


_TEXT_KINDS = frozenset({"text", "input_text"})
_IMAGE_KINDS = frozenset({"image_url", "input_image", "image"})
_IMAGE_FIELDS = ("image_url", "image", "url")  # where clients of one server or another put it


class ContentPart(Received):
    """A piece of a message's content: a text or a picture."""

    type: Annotated[
        str,
        refuse_unless(
            lambda kind: kind in _TEXT_KINDS | _IMAGE_KINDS,
            "Messages are made of texts and pictures: content parts must have the type 'text' or 'image_url'.",
        ),
    ]
    text: Annotated[str | None, Field(validate_default=True)] = None
    image_url: Annotated[
        ImageUrl | None,
        BeforeValidator(
            lambda value: {"url": value} if isinstance(value, str) else value, json_schema_input_type=ImageUrl | str | None
        ),
        Field(validate_default=True, validation_alias=AliasChoices(*_IMAGE_FIELDS)),
    ] = None

    @property
    def is_image(self) -> bool:
        """Whether it is a picture."""
        return self.type in _IMAGE_KINDS

    @model_validator(mode="before")
    @classmethod
    def _only_its_own_matters(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kind = data.get("type")
        alien = ("text",) if isinstance(kind, str) and kind in _IMAGE_KINDS else _IMAGE_FIELDS
        return {name: value for name, value in data.items() if name not in alien}

    @field_validator("text")
    @classmethod
    def _texts_have_one(cls, text: str | None, info: ValidationInfo) -> str | None:
        return _present(text, info, _TEXT_KINDS)

    @field_validator("image_url")
    @classmethod
    def _pictures_have_one(cls, image_url: ImageUrl | None, info: ValidationInfo) -> ImageUrl | None:
        return _present(image_url, info, _IMAGE_KINDS)


def _present(value: _Value, info: ValidationInfo, kinds: frozenset[str]) -> _Value:
    if value is None and info.data.get("type") in kinds:
        raise PydanticCustomError("missing", "Field required")
    return value


Content = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[ContentPart], Field(min_length=1), Tag("parts")],
    Discriminator(
        _content_kind,
        custom_error_type="content_type",
        custom_error_message="Input should be a string or a list of parts",
    ),
]


class CalledFunction(Received):
    """Which function was called, and how."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(min_length=1)]
    arguments: Annotated[str | dict[str, Any], Field(description="A JSON object, as text or as it is.")] = ""


class CallMade(Received):
    """A call in an assistant's turn."""

    model_config = ConfigDict(extra="allow")

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Received):
    """One turn of a conversation. What else it has (a name, its reasoning) goes to the model's chat template as it is."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[Content | None, Field(validate_default=True)] = None
    tool_calls: list[CallMade] = []

    @field_validator("content")
    @classmethod
    def _only_assistants_may_be_silent(cls, content: Any, info: ValidationInfo) -> Any:
        if content is None and info.data.get("role", "assistant") != "assistant":
            raise PydanticCustomError("missing", "Field required")
        return content


class StreamOptions(Received):
    """What a stream contains besides the answer."""

    include_usage: bool = False


ModelName = Annotated[str, Field(description="An id or an alias; left out or empty, the default model answers.")]
TokenIds = list[Annotated[int, Field(strict=True, ge=0, le=MAX_TOKENS)]]


class GenerationRequest(Received):
    """What both ways of asking have in common."""

    model: ModelName = ""
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: Annotated[int | None, Field(ge=1, le=MAX_TOKENS)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=MAX_TOKENS, description="Wins over max_tokens.")] = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] = 1.0
    stop: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        Field(max_length=_MAX_STOPS),
        BeforeValidator(_as_list),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": _MAX_STOPS}]}),
    ] = []
    seed: Annotated[int | None, Field(ge=-(1 << 63), lt=1 << 64)] = None
    user: Annotated[str, Field(max_length=256, description="Users of one priority share a model fairly.")] = ""
    priority: Annotated[int, Field(ge=-1000, le=1000, description="A lower value is handled earlier.")] = 0
    timeout: Annotated[float | None, Field(gt=0.0, le=86400.0, description="Seconds after which the request is ended.")] = None
    n: Annotated[int, Field(ge=1, le=_MAX_CHOICES, description="How many answers to give.")] = 1
    frequency_penalty: Annotated[float, Field(ge=-2.0, le=2.0, allow_inf_nan=False)] = 0.0
    presence_penalty: Annotated[float, Field(ge=-2.0, le=2.0, allow_inf_nan=False)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0.0, le=100.0, allow_inf_nan=False)] = 1.0
    logit_bias: dict[
        Annotated[int, Field(ge=0, le=MAX_TOKENS)], Annotated[float, Field(ge=-100.0, le=100.0, allow_inf_nan=False)]
    ] = {}
    top_k: Annotated[int, Field(ge=-1, le=MAX_TOKENS, description="0 and -1 take all tokens.")] = 0
    min_p: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] = 0.0
    min_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 0
    ignore_eos: bool = False
    stop_token_ids: TokenIds = []

    @property
    def token_limit(self) -> int | None:
        """The most tokens to generate; None where the client didn't say."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """How many of the most likely tokens to report beside each token; None reports nothing."""
        return None

    @model_validator(mode="after")
    def _min_tokens_fit(self) -> Self:
        if self.token_limit is not None and self.min_tokens > self.token_limit:
            raise wrong("min_tokens", f"more than the most tokens to generate, {self.token_limit}")
        return self


class Function(Received):
    """A function that may be called."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str = ""
    parameters: Annotated[dict[str, Any], Field(description="A JSON schema.")] = {"type": "object", "properties": {}}


_FUNCTIONS_ONLY = "Tools that the server runs itself are not supported: a tool must have the type 'function'."


class Tool(Received):
    """A tool that the model may use."""

    type: Annotated[str, refuse_unless(lambda kind: kind == "function", _FUNCTIONS_ONLY)] = "function"
    function: Function


class NamedFunction(Received):
    """A function by its name."""

    name: str


class NamedTool(Received):
    """The one tool to use."""

    type: Annotated[
        str, refuse_unless(lambda kind: kind == "function", "'tool_choice' is one of 'none', 'auto', 'required' and a function.")
    ] = "function"
    function: NamedFunction


def _choice_kind(value: Any) -> str | None:
    return "mode" if isinstance(value, str) else "tool" if isinstance(value, dict | NamedTool) else None


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("mode")] | Annotated[NamedTool, Tag("tool")],
    Discriminator(
        _choice_kind,
        custom_error_type="tool_choice_type",
        custom_error_message="Input should be 'none', 'auto', 'required' or a function",
    ),
]


class ChatRequest(GenerationRequest):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1)]
    tools: list[Tool] = []
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: Annotated[bool, Field(description="Whether an answer may call more than one tool.")] = True
    functions: Annotated[list[Any], refuse_unless(is_empty, "Functions are not supported; send them as 'tools'.")] = []
    function_call: Annotated[
        Any,
        refuse_unless(lambda choice: choice in ("none", "auto"), "Functions are not supported; send them as 'tools'."),
    ] = "none"
    response_format: Annotated[
        dict[str, Any],
        refuse_unless(
            lambda form: form.get("type", "text") == "text", "Answers are plain text; other formats are not supported."
        ),
    ] = {}
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] = 0
    chat_template_kwargs: Annotated[dict[str, Any], Field(description="Variables for the model's chat template.")] = {}
    clean_ocr: Annotated[
        bool | None, Field(description="Leave an OCR model's marks of layout out; else the model's setting decides.")
    ] = None

    @property
    def wanted_logprobs(self) -> int | None:
        """How many of the most likely tokens to report beside each token; None reports nothing."""
        return self.top_logprobs if self.logprobs else None

    @model_validator(mode="after")
    def _the_chosen_tool_is_there(self) -> Self:
        choice = self.tool_choice
        if choice == "required" and not self.tools:
            raise wrong("tool_choice", "of no use without 'tools'")
        if isinstance(choice, NamedTool) and choice.function.name not in {tool.function.name for tool in self.tools}:
            raise wrong("tool_choice", f"there is no '{choice.function.name}' among the 'tools'")
        return self

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise wrong("top_logprobs", "of no use unless 'logprobs' is true")
        return self


_PROMPT_FORMS = "Input should be a string, a list of token ids, or a list with one of these"
OnePrompt = Annotated[
    Annotated[str, Tag("text")] | Annotated[TokenIds, Tag("tokens")],
    Discriminator(_prompt_kind, custom_error_type="prompt_type", custom_error_message=_PROMPT_FORMS),
]
Prompt = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[TokenIds, Tag("tokens")]
    | Annotated[
        list[OnePrompt],
        refuse_unless(lambda prompts: len(prompts) == 1, "One prompt is taken with a request; send the others in their own."),
        Tag("prompts"),
    ],
    Discriminator(_prompt_kind, custom_error_type="prompt_type", custom_error_message=_PROMPT_FORMS),
]


class CompletionRequest(GenerationRequest):
    """The body of `POST /v1/completions`."""

    prompt: Prompt
    best_of: int | None = None
    echo: Annotated[bool, refuse_unless(is_empty, "'echo' is not supported: put the prompt before the answer yourself.")] = False
    suffix: Annotated[str, refuse_unless(is_empty, "'suffix' is not supported; leave it out or empty.")] = ""
    logprobs: Annotated[
        int | None, Field(strict=True, ge=0, le=5), BeforeValidator(lambda value: None if value is False else value)
    ] = None

    @property
    def wanted_logprobs(self) -> int | None:
        """How many of the most likely tokens to report beside each token; None reports nothing."""
        return self.logprobs

    @field_validator("best_of")
    @classmethod
    def _all_are_given(cls, best_of: int | None, info: ValidationInfo) -> int | None:
        if best_of is not None and best_of != info.data.get("n", best_of):
            reason = "All answers that are made are given: 'best_of' must be the same as 'n'."
            raise PydanticCustomError(UNSUPPORTED, "{reason}", {"reason": reason})
        return best_of


class PromptTokensDetails(BaseModel):
    """Of the prompt's tokens, those that were computed before."""

    cached_tokens: int = 0


class CompletionTokensDetails(BaseModel):
    """Of the answer's tokens, those of its reasoning."""

    reasoning_tokens: int = 0


class Usage(BaseModel):
    """What a request took, in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()
    completion_tokens_details: CompletionTokensDetails = CompletionTokensDetails()


class Head(TypedDict):
    """What every answer and every chunk of it begins with."""

    id: str
    created: int
    model: str
    system_fingerprint: str


class _Answer(BaseModel):
    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: Usage


class TopLogprob(TypedDict):
    """A token that might have come, and how likely the model held it."""

    token: str
    bytes: Sequence[int] | None
    logprob: float


class ContentLogprob(TopLogprob):
    """A token of the answer, and what might have come in its place, most likely first."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(TypedDict):
    """The logprobs of an answer's tokens."""

    content: list[ContentLogprob]
    refusal: None


class CompletionLogprobs(TypedDict):
    """The same as completions have it: a list for each property, an item for each token.

    `text_offset` is where a token begins in the answer, in characters. `top_logprobs` has the token itself too.
    """

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class FunctionCall(TypedDict):
    """Which function is called, with a JSON object as text."""

    name: str
    arguments: str


class MessageToolCall(TypedDict):
    """A tool that the model calls."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class ChunkToolCall(MessageToolCall):
    """The same in a stream, where each comes whole in one chunk; `index` numbers them."""

    index: int


class ChatMessage(BaseModel):
    """The model's turn. Without reasoning and calls, these fields are missing; a turn of calls alone has no content."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: Annotated[str, Field(exclude_if=is_empty)] = ""
    tool_calls: Annotated[list[MessageToolCall], Field(exclude_if=is_empty)] = []


class ChatChoice(BaseModel):
    """One answer of a chat completion."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str


class ChatCompletion(_Answer):
    """A whole answer to a conversation."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]


class CompletionChoice(BaseModel):
    """One answer of a completion."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str


class Completion(_Answer):
    """A whole answer to a prompt."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[CompletionChoice]


class ChatDelta(TypedDict, total=False):
    """What a chunk adds to the model's turn."""

    role: Literal["assistant"]
    content: str
    reasoning_content: str
    tool_calls: list[ChunkToolCall]


class ChatChunkChoice(TypedDict):
    """A chunk of a chat completion."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class CompletionChunkChoice(TypedDict):
    """A chunk of a completion."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: str | None


class Chunk(Head):
    """One event of a stream; `usage` is there when the client asked for it, and filled in the last one."""

    object: str
    choices: list[ChatChunkChoice | CompletionChunkChoice]
    usage: NotRequired[dict[str, Any] | None]


class Model(BaseModel):
    """A model that requests may name, and what they may ask of it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "omlx"
    type: ModelType
    capabilities: tuple[Capability, ...]


class ModelList(BaseModel):
    """Every model that requests may name."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorDetail(BaseModel):
    """Why a request failed."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail
