"""Pictures in prompts: their features, kept for the next turn, and the prompts that they stand in."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np

from scheduler.mlx.prompt_inputs import Features
from scheduler.mlx.vision_language import VisionLanguage


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a model's processor has prepared it.

    Attributes:
        digest: What tells it from all others.
        token_ids: What stands for it in a prompt, placeholders among them.
        inputs: What the vision half takes by name, NumPy arrays or lists of them.
    """

    digest: bytes
    token_ids: tuple[int, ...]
    inputs: Mapping[str, Any] = field(repr=False)


class PictureFeatures:
    """Makes features of pictures, and keeps the latest within a budget. Belongs to the thread that steps the model.

    Attributes:
        encoded: How many pictures went through the vision half.

    Args:
        model: Whose vision half it is.
        budget: Bytes of features to keep.
    """

    def __init__(self, model: VisionLanguage, budget: int) -> None:
        self.model = model
        self.encoded = 0
        self._budget = budget
        self._kept: OrderedDict[bytes, Features] = OrderedDict()
        self._bytes = 0

    def of(self, picture: Picture) -> Features:
        """Its features, evaluated."""
        found = self._kept.get(picture.digest)
        if found is not None:
            self._kept.move_to_end(picture.digest)
            return found
        features = self.model.see(picture.token_ids, _on_device(picture))
        mx.eval(_arrays(features))
        self.encoded += 1
        self._keep(picture.digest, features)
        return features

    def _keep(self, digest: bytes, features: Features) -> None:
        self._kept[digest] = features
        self._bytes += _size(features)
        while self._bytes > self._budget:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= _size(gone)


class PicturePrompt:
    """A prompt with pictures. See `scheduler.mlx.prompt_inputs.PromptInputs`.

    Attributes:
        token_ids: The whole prompt's, placeholders among them.
        pictures: The pictures, each with the place where its tokens begin, in order.
        delta: How far the rotary position of a token after the prompt is from its place.

    Args:
        features: Makes the pictures' features.

    Any thread may make one, so that a model which can't place some pictures says so before anything is computed with them. Raises
    what it raises then.
    """

    def __init__(self, features: PictureFeatures, token_ids: Sequence[int], pictures: Sequence[tuple[int, Picture]]) -> None:
        self._features = features
        self.token_ids = tuple(token_ids)
        self.pictures = tuple(pictures)
        positions, self.delta = features.model.places(token_ids, [_on_device(picture, pixels=False) for _, picture in pictures])
        self._positions = None if positions is None else np.array(positions)

    def features(self, start: int, stop: int) -> Features:
        """What stands for tokens `start` … `stop - 1`. Only pictures among these are looked at."""
        model = self._features.model
        words = model.embed(mx.array(self.token_ids[start:stop]))
        seen = [
            (max(start, first), min(stop, first + len(picture.token_ids)), first, self._features.of(picture))
            for first, picture in self.pictures
            if first < stop and first + len(picture.token_ids) > start
        ]
        embeddings = _laid_over(words, start, [(a, b, _embedded(its)[a - first : b - first]) for a, b, first, its in seen])
        levels = max((len(its.deeper) for *_, its in seen), default=0)
        nothing = mx.zeros_like(words)
        deeper = tuple(
            _laid_over(nothing, start, [(a, b, its.deeper[level][a - first : b - first]) for a, b, first, its in seen])
            for level in range(levels)
        )
        positions = None if self._positions is None else mx.array(self._positions[:, start:stop])
        return Features(embeddings, positions, deeper)


def on_device(value: Any) -> Any:
    """A NumPy array as MLX's, or a list of them."""
    return [mx.array(each) for each in value] if isinstance(value, list) else mx.array(value)


def _on_device(picture: Picture, *, pixels: bool = True) -> dict[str, mx.array]:
    return {name: on_device(array) for name, array in picture.inputs.items() if pixels or name != "pixel_values"}


def _embedded(features: Features) -> mx.array:
    assert features.embeddings is not None
    return features.embeddings


def _laid_over(base: mx.array, origin: int, parts: Sequence[tuple[int, int, mx.array]]) -> mx.array:
    """An array with other rows from place to place, `origin` being its first; the parts are in order."""
    pieces: list[mx.array] = []
    at = origin
    for begin, end, rows in parts:
        if begin > at:
            pieces.append(base[at - origin : begin - origin])
        pieces.append(rows.astype(base.dtype))
        at = end
    if at < origin + base.shape[0]:
        pieces.append(base[at - origin :])
    return pieces[0] if len(pieces) == 1 else mx.concatenate(pieces)


def _arrays(features: Features) -> list[mx.array]:
    return [_embedded(features), *features.deeper]


def _size(features: Features) -> int:
    return sum(array.nbytes for array in _arrays(features))
