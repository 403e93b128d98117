"""A request of Anthropic's Messages API as a chat: the same job comes of both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from omlx.api.anthropic import (
    CountRequest,
    ImageBlock,
    MessagesRequest,
    TextBlock,
    ThinkingBlock,
    ToolParam,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
)
from omlx.api.openai import (
    CalledFunction,
    CallMade,
    ChatRequest,
    ContentPart,
    Function,
    ImageUrl,
    Message,
    NamedFunction,
    NamedTool,
    Tool,
)

# Claude Code's note to Anthropic, which may differ from request to request: with it, no prompt would begin as another did.
_BILLING = "x-anthropic-billing-header:"
_REMINDER = "<system-reminder>"  # Claude Code's own
_LONGEST_USER = 256  # characters
_RENAMED = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop",
}


@dataclass(slots=True)
class Conversation:
    """A conversation as a chat has it.

    Attributes:
        messages: What is said.
        pictures: Where in the request each picture of the messages stands, and its URL, in order.
    """

    messages: list[Message] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)


def conversation_of(request: CountRequest) -> Conversation:
    """The turns as messages: results of tools are messages of their own, and what users say in a row is one.

    The pictures among results come with the user's next words, as templates have no place for them in results.
    """
    found = Conversation()
    rules = [block.text for block in request.system if not block.text.startswith(_BILLING)]
    if rules:
        found.messages.append(Message(role="system", content=[_text(text) for text in rules]))
    for number, turn in enumerate(request.messages):
        if turn.role == "assistant":
            found.messages.append(_assistant(turn))
        else:
            _add_user(found, turn, f"messages.{number}.content")
    return found


def chat_of(request: CountRequest, conversation: Conversation) -> ChatRequest:
    """The request as a chat. What it leaves out is left out there too, so that the model's settings hold."""
    fields: dict[str, Any] = {"model": request.model, "messages": conversation.messages}
    if request.tools:
        choice = request.tool_choice
        modes = {"any": "required", "tool": NamedTool(function=NamedFunction(name=choice.name))}
        fields["tools"] = [_tool(tool) for tool in request.tools]
        fields["tool_choice"] = modes.get(choice.type, choice.type)
        fields["parallel_tool_calls"] = not choice.disable_parallel_tool_use
    if request.thinking is not None:
        fields["chat_template_kwargs"] = {"enable_thinking": request.thinking.type != "disabled"}
    if isinstance(request, MessagesRequest):
        given = request.model_fields_set & _RENAMED.keys()
        fields |= {_RENAMED[name]: getattr(request, name) for name in given}
        fields |= {"stream": request.stream, "user": _user(request.metadata.user_id)}
    return ChatRequest(**fields)


def _assistant(turn: Turn) -> Message:
    blocks = _blocks(turn)
    calls = [
        CallMade(id=block.id, function=CalledFunction(name=block.name, arguments=block.input))
        for block in blocks
        if isinstance(block, ToolUseBlock)
    ]
    thoughts = "\n".join(block.thinking for block in blocks if isinstance(block, ThinkingBlock) and block.thinking)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "\n".join(each.text for each in blocks if isinstance(each, TextBlock)),
    }
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = thoughts
    return Message.model_validate(message)


def _add_user(found: Conversation, turn: Turn, param: str) -> None:
    said: list[ContentPart] = []
    has_results = False
    for place, block in enumerate(_blocks(turn)):
        if isinstance(block, TextBlock):
            said.append(_text(f"{_REMINDER}\n{block.text}\n</system-reminder>" if turn.role == "system" else block.text))
        elif isinstance(block, ImageBlock):
            said.append(_picture(found, block, f"{param}.{place}"))
        elif isinstance(block, ToolResultBlock):
            if not has_results:
                _say(found, said)
                said, has_results = [], True
            result = {"role": "tool", "content": _result(block), "tool_call_id": block.tool_use_id}
            found.messages.append(Message.model_validate(result))
            pictures = enumerate(() if isinstance(block.content, str) else block.content)
            said += [
                _picture(found, each, f"{param}.{place}.content.{inner}")
                for inner, each in pictures
                if isinstance(each, ImageBlock)
            ]
    _say(found, said)


def _say(found: Conversation, parts: Sequence[ContentPart]) -> None:
    """Add to what the user says: templates want turns that take turns.

    Reminders that follow a result become part of it: to some templates, a user who speaks there speaks out of turn.
    """
    if not parts:
        return
    last = found.messages[-1] if found.messages else None
    reminders = [part.text for part in parts if part.text is not None and part.text.lstrip().startswith(_REMINDER)]
    if last is not None and last.role == "tool" and len(reminders) == len(parts):
        last.content = "\n\n".join([str(last.content), *reminders])
    elif last is not None and last.role == "user" and isinstance(last.content, list):
        last.content += parts
    else:
        found.messages.append(Message(role="user", content=list(parts)))


def _result(block: ToolResultBlock) -> str:
    texts = (
        [block.content]
        if isinstance(block.content, str)
        else [each.text for each in block.content if isinstance(each, TextBlock)]
    )
    text = "\n".join(texts)
    return f"Error: {text}" if block.is_error else text


def _blocks(turn: Turn) -> Sequence[object]:
    return [TextBlock(text=turn.content)] if isinstance(turn.content, str) else turn.content


def _text(text: str) -> ContentPart:
    return ContentPart(type="text", text=text)


def _picture(found: Conversation, block: ImageBlock, param: str) -> ContentPart:
    found.pictures.append((param, block.source.as_url))
    return ContentPart(type="image_url", image_url=ImageUrl(url=block.source.as_url))


def _tool(tool: ToolParam) -> Tool:
    return Tool(function=Function(name=tool.name, description=tool.description, parameters=tool.input_schema))


def _user(user_id: str) -> str:
    """A name of the length that a chat's `user` may have; which it is matters to nobody."""
    return user_id if len(user_id) <= _LONGEST_USER else sha256(user_id.encode()).hexdigest()
