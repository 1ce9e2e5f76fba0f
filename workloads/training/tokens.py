"""Byte-level tokens: the id of a byte is its value, and one more id ends (and begins) a text.

No merges and nothing learned, so a text's token count is its UTF-8 length and bits per token are bits per
byte.
"""

END_OF_TEXT = 256  # also serves as beginning-of-text: a file follows the end of the one before it
END_OF_TEXT_NAME = "<|endoftext|>"
VOCABULARY = 257
