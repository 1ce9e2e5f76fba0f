"""From text to token ids: bytes as they are, or any tokenizer that Hugging Face saved as tokenizer.json."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from workloads.training.encoding import encoded
from workloads.training.flags import ConfigError
from workloads.training.tokens import END_OF_TEXT, END_OF_TEXT_NAME

BYTES = "bytes"
"""The name of the tokenizer that needs no file."""


@dataclass(frozen=True)
class TextTokenizer:
    """What turns text into ids, and what a reader of the ids must know."""

    vocabulary: int  # every id is below it
    end_of_text: int
    end_of_text_name: str
    file: str  # the content of its tokenizer.json

    @property
    def is_bytes(self) -> bool:
        """Whether an id is a byte's value."""
        return self.file == byte_tokenizer().to_str()

    def encode(self, texts: Iterable[bytes]) -> Iterator[NDArray]:
        """The ids of each text in UTF-8, all of it and without an end. Raises UnicodeDecodeError."""
        if self.is_bytes:
            return map(as_bytes, texts)
        tokenizer = Tokenizer.from_str(self.file)
        tokenizer.no_truncation()  # a file keeps the length that its tokenizer was last used with
        tokenizer.no_padding()
        return encoded(tokenizer, map(bytes.decode, texts))


def load_tokenizer(given: str, end_of_text: str) -> TextTokenizer:
    """The tokenizer called `bytes`, or the one in the file `given`; `end_of_text` names a token it has.

    Raises ConfigError when the file is no tokenizer or has no such token.
    """
    if given == BYTES:
        return TextTokenizer(END_OF_TEXT + 1, END_OF_TEXT, END_OF_TEXT_NAME, byte_tokenizer().to_str())
    try:
        text = Path(given).read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception for what it cannot read
        raise ConfigError(
            f"tokenizer={given!r}: must be {BYTES!r} or a tokenizer.json ({error}); give the path of one"
        ) from error
    end = tokenizer.token_to_id(end_of_text)
    if end is None:
        names = [str(token) for token in tokenizer.get_added_tokens_decoder().values()]
        raise ConfigError(
            f"end_of_text={end_of_text!r}: must be a token of {given}; it has {', '.join(names) or 'no special ones'}"
        )

    vocabulary = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    return TextTokenizer(vocabulary, end, end_of_text, text)


def as_bytes(content: bytes) -> NDArray:
    """The id of a byte is its value."""
    return np.frombuffer(content, dtype=np.uint8)


def byte_tokenizer() -> Tokenizer:
    """A tokenizer that gives every UTF-8 byte its own value as id, and END_OF_TEXT its name; nothing is
    merged.

    The BPE file format wants printable names for bytes; the byte-level pre-tokenizer and decoder translate.
    Text that spells out the end-of-text name is read as that token, as everywhere in Hugging Face's
    tokenizers.
    """
    vocabulary = {name: value for value, name in enumerate(byte_names())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT_NAME])  # takes the next free id
    assert tokenizer.token_to_id(END_OF_TEXT_NAME) == END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT_NAME)
    return tokenizer


def byte_names() -> list[str]:
    """The byte-level format's character for each byte, in byte order.

    A printable Latin-1 character stands for its own byte; the others, in byte order, take the characters from
    U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]
