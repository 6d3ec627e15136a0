"""One request to the Mock, and what it is read for: its text, its tokens, the tool that it must call. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate_dataplane.snapshot.entries import Operation

BYTES_PER_TOKEN = 4

Json = dict[str, Any]


class Rejected(ValueError):
    """The request is one that a provider would refuse with 400; `param` names the field."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class MockCall:
    """One request to the Mock: its parsed body, the text it answers, and identifiers."""

    operation: Operation
    body: Mapping[str, Any]
    reply: str
    id: str
    created: int

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def usage(self) -> tuple[int, int]:
        """Input and output tokens, one for each begun BYTES_PER_TOKEN of text."""
        asked = self.body.get("messages", self.body.get("input", self.body.get("prompt", "")))
        tool = self.tool
        return tokens_of(text_of(asked)), tokens_of(self.reply if tool is None else arguments_of(tool))

    @property
    def tool(self) -> Json | None:
        """The function that must be called, when the caller requires one."""
        tools = self.body.get("tools")
        choice = self.body.get("tool_choice")
        if not isinstance(tools, list) or not tools or choice in (None, "none", "auto"):
            return None
        functions = [_function(tool) for tool in tools]
        if isinstance(choice, dict):
            name = _function(choice).get("name")
            functions = [each for each in functions if each.get("name") == name]
            if not functions:
                raise Rejected("tool_choice", f"tool_choice names {name!r}, which is not in tools")
        return functions[0]


def tokens_of(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def words_of(reply: str) -> list[str]:
    """The reply in pieces that join to it again, as a model would stream it."""
    words = reply.split(" ")
    return [*(f"{word} " for word in words[:-1]), words[-1]]


def arguments_of(_tool: Json) -> str:
    return "{}"


def _function(tool: Any) -> Json:
    """Chat nests the function's name under `function`, Responses does not."""
    if not isinstance(tool, dict):
        return {}
    nested = tool.get("function")
    return nested if isinstance(nested, dict) else tool


def text_of(value: Any) -> str:
    """All text in a prompt, messages or input, whatever its nesting."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(text_of(each) for each in value)
    if isinstance(value, dict):
        return text_of(value.get("content", value.get("text", "")))
    return "" if value is None else str(value)
