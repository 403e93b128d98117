"""What tokens are called one by one, in text and in bytes: for logprobs, where there is no neighbour to go by."""

import re

from actors.contracts import LikelyToken, TokenLogprob
from actors.engine.text import BROKEN, Tokenizer
from scheduler.step import TokenLogprobs

_SPACE = "\u2581"  # SentencePiece's
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class TokenTexts:
    """A tokenizer's tokens by text and bytes; each is worked out once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, tuple[str, tuple[int, ...] | None]] = {}

    def describe(self, logprobs: TokenLogprobs) -> TokenLogprob:
        """The same in text."""
        top = tuple(self._likely(token, logprob) for token, logprob in logprobs.top)
        return TokenLogprob(self._likely(logprobs.token, logprobs.logprob), top)

    def _likely(self, token: int, logprob: float) -> LikelyToken:
        known = self._known.get(token)
        if known is None:
            known = self._known[token] = self._work_out(token)
        return LikelyToken(*known, logprob)

    def _work_out(self, token: int) -> tuple[str, tuple[int, ...] | None]:
        text = self._tokenizer.decode([token])
        piece = self._tokenizer.convert_ids_to_tokens(token) or ""
        if BROKEN in text:
            data = _piece_bytes(piece)
            return text, None if data is None else tuple(data)
        if piece.startswith(_SPACE) and not text.startswith(" "):
            text = f" {text}"  # a text's first space is dropped in decoding, and here each token is first
        return text, tuple(text.encode())


def _piece_bytes(piece: str) -> bytes | None:
    """The bytes that a vocabulary's spelling stands for, or None where it is no spelling of bytes."""
    if not piece:
        return None
    if byte := _BYTE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    try:
        return bytes(_BYTE_OF[character] for character in piece)
    except KeyError:
        return None


def _byte_alphabet() -> dict[str, int]:
    """Byte-level BPE's characters and their bytes (Radford et al., GPT-2, 2019): printable ones are themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
