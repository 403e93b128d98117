"""A vision-language model of mlx-vlm, as the runners use models of mlx-lm."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, cast

import mlx.core as mx
from mlx_lm.models.cache import CacheList, KVCache, RotatingKVCache

from scheduler.mlx.prompt_inputs import Features

# What the runners know to hand on of what a model makes of a picture, or to do without: masks that let all be seen, positions, and
# inputs of layers, which the language half looks up itself. Whatever else a model asks for, it can't be served with; that these
# are all that matters, `scheduler.mlx.vision_check` finds out.
_KNOWN = frozenset(
    {
        "attention_mask",
        "attention_mask_4d",
        "deepstack_visual_embeds",
        "inputs_embeds",
        "per_layer_inputs",
        "pos_hw",
        "position_ids",
        "rope_deltas",
        "visual_pos_masks",
    }
)
_PROMPT = frozenset({"input_ids", "attention_mask", "pixel_values"})


class UnsupportedVisionError(ValueError):
    """A model makes something of its pictures that isn't handed from one token to the next."""


class VisionLanguage:
    """The language half takes the steps; the vision half makes features of pictures.

    Attributes:
        model: mlx-vlm's.
        language: Its language half.
        layers: Of that.
        rotates: Whether its rotary positions have three axes, which pictures move.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.language = model.language_model
        self.layers: list[Any] = model.language_model.layers if hasattr(model.language_model, "layers") else model.layers
        self.rotates = hasattr(self.language, "get_rope_index")
        self._body = getattr(self.language, "model", self.language)
        if hasattr(self._body, "_deepstack_process"):
            self._body._deepstack_process = _add  # noqa: SLF001 - in place of a loop over rows, which has an own one for each token

    def __call__(self, inputs: mx.array, cache: Sequence[Any], features: Features | None = None) -> mx.array:
        """Token ids (rows, length) to logits (rows, length, vocabulary); the caches grow by `length`.

        Args:
            inputs: The tokens.
            cache: One for each layer.
            features: What stands for them, rows one after the other, where it isn't only the tokens.
        """
        rows, length = inputs.shape
        more: dict[str, Any] = {}
        if features is not None and features.embeddings is not None:
            more["inputs_embeds"] = features.embeddings.reshape(rows, length, -1)
        if features is not None and features.deeper:
            more["visual_pos_masks"] = mx.ones((rows, length), dtype=mx.bool_)
            more["deepstack_visual_embeds"] = [each.reshape(rows, length, -1) for each in features.deeper]
        if self.rotates:
            given = None if features is None else features.positions
            more["position_ids"] = _places(cache, rows, length) if given is None else given.reshape(3, rows, length)
        logits: mx.array = self.language(inputs, cache=cache, **more).logits
        return logits

    def embed(self, tokens: mx.array) -> mx.array:
        """Token ids (tokens,) to embeddings (tokens, size), as the model has them for words."""
        embeddings: mx.array = self.model.get_input_embeddings(tokens[None], None).inputs_embeds[0]
        return embeddings

    def see(self, token_ids: Sequence[int], inputs: Mapping[str, mx.array]) -> Features:
        """What stands for the tokens of one picture.

        Args:
            token_ids: Its own, placeholders among them.
            inputs: What the model's processor made of it.

        Raises `UnsupportedVisionError`.
        """
        ids = mx.array([token_ids])
        made = self._features(ids, inputs)
        unknown = sorted(name for name, value in vars(made).items() if value is not None and name not in _KNOWN)
        if unknown:
            raise UnsupportedVisionError(f"pictures need {', '.join(unknown)} in this model, which isn't supported")
        if made.inputs_embeds.shape[1] != len(token_ids):
            raise UnsupportedVisionError(
                "a picture has other places in a prompt than its tokens in this model, which isn't supported"
            )
        mask, compact = made.visual_pos_masks, made.deepstack_visual_embeds
        deeper = () if compact is None else tuple(_spread(each, mask[0]) for each in compact)
        return Features(made.inputs_embeds[0], None, deeper)

    def whole(self, inputs: Mapping[str, mx.array]) -> mx.array:
        """Logits (tokens, vocabulary) of a whole prompt, as mlx-vlm's own generation has them.

        Args:
            inputs: What the model's processor made of text and pictures together, `input_ids` among them.
        """
        ids = inputs["input_ids"].reshape(1, -1)
        others = {name: array for name, array in inputs.items() if name not in _PROMPT}
        made = {name: value for name, value in vars(self._features(ids, inputs)).items() if value is not None}
        own = vars(self._body).pop("_deepstack_process", None)
        try:
            logits: mx.array = self.language(ids, cache=self.make_cache(), **{**others, **made}).logits[0]
        finally:
            if own is not None:
                self._body._deepstack_process = own  # noqa: SLF001 - as it was
        return logits

    def _features(self, ids: mx.array, inputs: Mapping[str, mx.array]) -> Any:
        others = {name: array for name, array in inputs.items() if name not in _PROMPT}
        return self.model.get_input_embeddings(ids, inputs["pixel_values"], mask=mx.ones_like(ids), **others)

    def places(self, token_ids: Sequence[int], pictures: Sequence[Mapping[str, mx.array]]) -> tuple[mx.array | None, int]:
        """Rotary positions of a whole prompt, int32 (3, tokens), and how far those after it are from their places.

        None and 0 where positions are places, whatever the pictures.
        """
        if not self.rotates or not pictures:
            return None, 0
        ids = mx.array([token_ids])
        taken = signature(self.language.get_rope_index).parameters.keys() & pictures[0].keys() - {"input_ids", "attention_mask"}
        grids = {name: mx.concatenate([each[name] for each in pictures]) for name in taken}
        positions, deltas = self.language.get_rope_index(ids, **grids)
        positions = mx.broadcast_to(positions.reshape(-1, 1, len(token_ids)), (3, 1, len(token_ids)))[:, 0]
        return positions.astype(mx.int32), int(cast("float", mx.array(deltas).reshape(-1)[0].item()))

    def make_cache(self) -> list[Any]:
        """Caches of mlx-lm's own kinds, one for each layer, in place of those of mlx-vlm's that are alike."""
        if not hasattr(self.language, "make_cache"):
            return [KVCache() for _ in self.layers]
        return [_of_mlx_lm(cache) for cache in self.language.make_cache()]


def _of_mlx_lm(cache: Any) -> Any:
    match type(cache).__name__:
        case "KVCache" | "SimpleKVCache":
            return KVCache()
        case "RotatingKVCache" | "BufferedRotatingKVCache":
            return RotatingKVCache(max_size=cache.max_size, keep=cache.keep)
        case "CacheList":
            return CacheList(*(_of_mlx_lm(each) for each in cache.caches))
    return cache


def _add(hidden: mx.array, _mask: mx.array, visual: mx.array) -> mx.array:
    return hidden + visual


def _spread(compact: mx.array, mask: mx.array) -> mx.array:
    """The rows of the places that a mask names, and zeros at the others."""
    index = mx.maximum(mx.cumsum(mask.astype(mx.int32)) - 1, 0)
    return mx.where(mask[:, None], compact[index], 0)


def _places(caches: Sequence[Any], rows: int, length: int) -> mx.array:
    """int32 (3, rows, length): each token's place in its sequence, on all axes."""
    offset = mx.array(next(cache.offset for cache in caches if hasattr(cache, "offset"))).reshape(-1, 1)
    return mx.broadcast_to((offset + mx.arange(length)[None]).astype(mx.int32), (3, rows, length))
