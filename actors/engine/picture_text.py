"""Where pictures stand in a prompt's tokens: the text around them is read as if they were in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.engine.text import Tokenizer
from scheduler.mlx.pictures import Picture


@dataclass(frozen=True, slots=True)
class Framed:
    """A picture, and the plain text that belongs to it.

    Attributes:
        picture: Its tokens begin and end with special ones, which text next to them can't change.
        before: The text in front of them.
        after: The text behind them.
    """

    picture: Picture
    before: str = ""
    after: str = ""


def split_frame(tokenizer: Any, token_ids: Sequence[int]) -> tuple[str, tuple[int, ...], str]:
    """Of what stands for a picture: the text before its first special token, the tokens from there to its last, and the text after."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    found = [place for place, token in enumerate(token_ids) if token in special]
    if not found:
        return "", tuple(token_ids), ""
    first, last = found[0], found[-1] + 1
    before, after = (tokenizer.decode(list(part)) for part in (token_ids[:first], token_ids[last:]))
    return before, tuple(token_ids[first:last]), after


def lay_out(
    tokenizer: Tokenizer, token: str, words: Sequence[str], pictures: Sequence[Framed]
) -> tuple[list[int], list[tuple[int, Picture]]]:
    """A prompt's tokens, and where in them its pictures' begin.

    Args:
        tokenizer: The model's.
        token: A text that stands for a picture.
        words: The text before, between and after the pictures.
        pictures: One less.
    """
    befores, afters = [*(framed.before for framed in pictures), ""], ["", *(framed.after for framed in pictures)]
    texts = [f"{after}{text}{before}" for after, text, before in zip(afters, words, befores, strict=True)]
    pieces = _split(tokenizer, token, tokenizer.encode(token.join(texts), add_special_tokens=False))
    if len(pieces) != len(words):  # the placeholder is no token
        pieces = [tokenizer.encode(each, add_special_tokens=False) if each else [] for each in texts]
    token_ids = list(pieces[0])
    places: list[tuple[int, Picture]] = []
    for framed, piece in zip(pictures, pieces[1:], strict=True):
        places.append((len(token_ids), framed.picture))
        token_ids += [*framed.picture.token_ids, *piece]
    return token_ids, places


def _split(tokenizer: Tokenizer, token: str, token_ids: Sequence[int]) -> list[list[int]]:
    """The tokens before, between and after those that are spelled as the placeholder."""
    alone = tokenizer.encode(token, add_special_tokens=False)
    pieces: list[list[int]] = [[]]
    for each in token_ids:
        if [each] == alone:
            pieces.append([])
        else:
            pieces[-1].append(each)
    return pieces
