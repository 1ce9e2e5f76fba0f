"""The JSON Schema of stack files: `python -m components.settings.schema --write|--check`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from components.settings.model import StackSettings

FILE = Path(__file__).resolve().parents[2] / "stacks" / "schema.json"


def stack_file_schema() -> dict[str, Any]:
    """Schema of a whole Pulumi stack file: ours under `skerry:stack`, other namespaces' keys left to them."""
    settings = StackSettings.model_json_schema()
    definitions = settings.pop("$defs")
    text = {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A Skerry stack file",
        "type": "object",
        "additionalProperties": False,
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "required": ["skerry:stack"],
                "properties": {"skerry:stack": settings},
                # A key of our own namespace is a secret: its value is an object with `secure`.
                "patternProperties": {
                    "^skerry:": {"type": "object"},
                    "^(?!skerry:)[a-z][a-z0-9-]*:.+$": {"description": "A key of a provider or of Pulumi."},
                },
                "additionalProperties": False,
            },
            "encryptionsalt": {
                **text,
                "description": "Salt of the passphrase; written by Pulumi.",
            },
            "encryptedkey": {
                **text,
                "description": "Data key of a cloud's key service; written by Pulumi.",
            },
            "secretsprovider": {
                **text,
                "description": "Who encrypts secrets: awskms://..., gcpkms://...",
            },
        },
        "$defs": definitions,
    }


def main(arguments: list[str]) -> None:
    """Writes the file, or exits 1 when it is not what the settings say."""
    text = json.dumps(stack_file_schema(), indent=2, sort_keys=True) + "\n"
    if arguments == ["--write"]:
        FILE.write_text(text)
    elif arguments == ["--check"]:
        if not FILE.exists() or FILE.read_text() != text:
            sys.exit("stacks/schema.json is not what components/settings says. Run `./skerry schema`.")
    else:
        sys.exit("usage: python -m components.settings.schema --write|--check")


if __name__ == "__main__":
    main(sys.argv[1:])
