"""What a fine-tuned model keeps of the one it began with: how it is talked to, how an answer ends, how far it reads."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.training.flags import ConfigError

TEXTS = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja"),
    *("tokenizer.model", "vocab.json", "merges.txt"),
)
"""Patterns of the files that say how text becomes tokens and messages become text; they are published as they are."""

SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
CONFIG, GENERATION = "config.json", "generation_config.json"


@dataclass(frozen=True)
class Base:
    context: int
    """Positions that its config promises. A run on shorter windows takes none of them away."""
    tokens: dict[str, Any]
    """Ids of special tokens as config.json has them: a number, a list of numbers, or null."""
    generation: dict[str, Any]
    """Its generation_config.json; empty where there is none."""
    files: dict[str, bytes]

    def ends(self, end_of_text: int) -> list[int]:
        """Every token that ends an answer: the model's own, and the one between the documents of the data."""
        own = [_ids(self.tokens.get("eos_token_id")), _ids(self.generation.get("eos_token_id"))]
        return list(dict.fromkeys([*own[0], *own[1], end_of_text]))


def read_base(folder: Path) -> Base:
    """What to keep of the model in `folder`, whose shape was read. Raises ConfigError for ids that are none."""
    config = _object(folder, CONFIG)
    generation = _object(folder, GENERATION) if (folder / GENERATION).is_file() else {}
    for file, content in ((CONFIG, config), (GENERATION, generation)):
        for name in SPECIAL:
            value = content.get(name)
            ids = value if isinstance(value, list) and name == "eos_token_id" else [value]
            if value is not None and not all(type(one) is int and one >= 0 for one in ids):
                raise ConfigError(
                    f"init={str(folder)!r}: {file}: {name}={value!r}: must be a token's number, or null; copy it again"
                )
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for pattern in TEXTS
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }
    tokens = {name: config[name] for name in SPECIAL if name in config}
    return Base(config["max_position_embeddings"], tokens, generation, files)


def _ids(value: Any) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _object(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"init={str(folder)!r}: {name} is no JSON ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise ConfigError(f"init={str(folder)!r}: {name} is no JSON object; copy it again")
    return found
