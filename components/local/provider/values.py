"""Values between Pulumi's wire format (protobuf Struct) and plain Python."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format, struct_pb2
from pulumi.runtime.rpc import UNKNOWN

Properties = dict[str, Any]

__all__ = ["UNKNOWN", "Properties", "from_struct", "has_unknown", "to_struct"]


def from_struct(struct: struct_pb2.Struct) -> Properties:
    """The Struct as a plain dict; whole numbers are ints again (protobuf knows doubles only)."""
    return _whole_numbers(json_format.MessageToDict(struct))


def to_struct(properties: Properties) -> struct_pb2.Struct:
    """The plain dict as a Struct."""
    struct = struct_pb2.Struct()
    struct.update(properties)
    return struct


def has_unknown(value: Any) -> bool:
    """Whether a value that is only known after `up` stands anywhere inside."""
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return isinstance(value, str) and UNKNOWN in value


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
