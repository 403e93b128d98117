"""Finds out whether pictures that are put into a prompt one by one give the logits that mlx-vlm's own model gives for the whole."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from scheduler.mlx.head import LastPosition
from scheduler.mlx.pictures import PicturePrompt
from scheduler.mlx.prompt_inputs import Fed, gather
from scheduler.mlx.vision_language import UnsupportedVisionError, VisionLanguage


def check_pictures(
    model: VisionLanguage,
    head: LastPosition | None,
    token_ids: Sequence[int],
    ours: PicturePrompt,
    whole: Mapping[str, Any],
) -> None:
    """Raise `UnsupportedVisionError` where a prompt's logits depend on how its pictures come to the model.

    The prompt goes in in pieces that cut its first picture, and its last token stands for an answer's first. What this finds:
    features that depend on other pictures or on their place, pictures whose tokens see what comes after them, and whatever else
    mlx-vlm hands to the language half with a prompt or while it answers.

    Args:
        model: The model, with its weights.
        head: Its vocabulary head, where that looks at last positions only.
        token_ids: A short prompt's, with negative numbers for parts of pictures.
        ours: The prompt.
        whole: What the model's processor makes of all of it, arrays by name, `input_ids` among them.
    """
    first, picture = ours.pictures[0]
    ends = (0, first + len(picture.token_ids) // 2, len(token_ids) - 1, len(token_ids))
    caches = make_prompt_cache(model)
    got = []
    for start, stop in pairwise(ends):
        tokens = mx.array([max(0, token) for token in token_ids[start:stop]])
        features = gather(model.embed, tokens, [Fed(ours, ends[-2], start, stop)])
        got.append(model(tokens[None], cache=caches, features=features)[0, -1])
        mx.eval(got[-1])
    places = mx.array([end - 1 for end in ends[1:]])
    if not _alike(mx.stack(got), _at(places, model, head, whole)):
        raise UnsupportedVisionError(
            "mlx-vlm gives other logits for a prompt with its pictures than for one that they are put into one by one"
        )


def _at(places: mx.array, model: VisionLanguage, head: LastPosition | None, whole: Mapping[str, Any]) -> mx.array:
    """The whole prompt's logits at some places."""
    if head is not None:
        head.places = places
    try:
        logits = model.whole(whole)
    finally:
        if head is not None:
            head.places = None
    return logits if len(logits) == places.size else logits[places]


def _alike(logits: mx.array, wanted: mx.array) -> bool:
    tolerance = 1e-3 if wanted.dtype == mx.float32 else 0.1
    logits, wanted = logits.astype(mx.float32), wanted.astype(mx.float32)
    spread = mx.max(mx.abs(wanted - mx.mean(wanted, axis=-1, keepdims=True)))
    return bool((mx.max(mx.abs(logits - wanted)) <= tolerance * spread).item())
