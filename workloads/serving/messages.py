"""The messages of a chat: what each may say, and what of it a chat template is given."""

from typing import Any

from workloads.serving.protocol import ApiError, refuse, whole_text, wrong

HONOURED = {"role", "content", "name"}
NEUTRAL: dict[str, tuple[object, ...]] = {
    "refusal": (),
    "audio": (),
    "function_call": (),
    "tool_calls": ([],),
}
"""Documented, and not honoured: field -> the values that ask for nothing; every other one is refused."""
PART = {"type", "text"}
"""Of a content that is a list of parts."""


def read_messages(value: Any) -> list[dict[str, str]]:
    """The messages as a template takes them. Raises ApiError(400) naming field, value, rule and remedy."""
    if not isinstance(value, list) or not value:
        raise wrong("messages", value, 'a non-empty list such as [{"role": "user", "content": "Hello"}]')
    return [_message(f"messages[{index}]", message) for index, message in enumerate(value)]


def unknown_in(messages: list[dict[str, Any]]) -> int:
    """How many fields of `messages`, which were read, nobody documents."""
    contents = [message.get("content") for message in messages]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    unknown = [message.keys() - HONOURED - NEUTRAL.keys() for message in messages]
    return sum(map(len, unknown + [part.keys() - PART for part in parts]))


def _message(where: str, message: Any) -> dict[str, str]:
    if not isinstance(message, dict):
        raise wrong(where, message, "an object with role and content")
    role, name = message.get("role"), message.get("name")
    if role in ("tool", "function"):
        message = f"{where}.role is {role}, which this server cannot honour; send text only"
        raise ApiError(400, message, f"{where}.role", code="unsupported_field")
    if role not in ("system", "developer", "user", "assistant"):
        raise wrong(f"{where}.role", role, "system, developer, user or assistant")
    refuse(message, NEUTRAL, f"{where}.")
    if not isinstance(name, str | None):
        raise wrong(f"{where}.name", name, "a string, or left out")
    content = message.get("content")
    if content is None and role == "assistant":  # stored histories hold answers that were a call, or nothing
        content = ""
    return {
        "role": "system" if role == "developer" else role,
        "content": whole_text(f"{where}.content", _content(f"{where}.content", content)),
    } | ({} if name is None else {"name": whole_text(f"{where}.name", name)})


def _content(where: str, content: Any) -> str:
    if isinstance(content, list):  # the format's other spelling: a list of parts
        texts = [
            part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"
        ]
        if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
            raise wrong(where, content, "text; parts of another type cannot be honoured")
        return "".join(map(str, texts))
    if not isinstance(content, str):
        raise wrong(where, content, "a string")
    return content
