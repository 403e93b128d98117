"""Where in a context checkpoints are taken: the places that others may begin at, for models whose rows are more than tokens' KV."""

from scheduler.prefix_cache import BLOCK_TOKENS, Hit

_CLOSING = 8  # tokens by which a template ends a prompt to make the model answer, and which the next turn may not have
_FIRST = 512


def checkpoints(length: int, hit: Hit, window: int) -> tuple[int, ...]:
    """Positions in a context, rising, all of them ends of blocks; at most log2(length / 512) + 3.

    The last one before the context's closing tokens: the next turn begins there, and so does another question about the same
    document. The last one that it shares with what is known: where two prompts part, a third will. And each power of two, so
    that whoever parts elsewhere still finds half of what it shares. None is nearer than a block to where the row begins.

    Args:
        length: The context's tokens.
        hit: What its row begins with.
        window: Tokens that the widest sliding window holds; 0 for none. Powers of two begin with it: a checkpoint copies all of
            the windows, and so it never takes more than the KV of the tokens before it would without them.
    """
    last = _whole(length - _CLOSING)
    places = {last, _whole(hit.shared)}
    place = _FIRST
    while place < last:
        if place >= window:
            places.add(place)
        place *= 2
    return tuple(sorted(place for place in places if hit.tokens + BLOCK_TOKENS <= place < length))


def _whole(tokens: int) -> int:
    return tokens // BLOCK_TOKENS * BLOCK_TOKENS
