"""Text and tokens: tokenizers from three kinds of file, streaming back into characters, chat
templates (chat templates).
"""

from understudy.text.open import open_tokenizer
from understudy.text.stream import StreamDecoder
from understudy.text.tokenizer import Tokenizer

__all__ = ["StreamDecoder", "Tokenizer", "open_tokenizer"]
