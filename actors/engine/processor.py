"""A model's processor in the form in which all are called: a text and pictures to token ids and to what the vision half takes."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import mlx.core as mx
import numpy as np
import PIL.Image

_ALONE = frozenset({"DeepseekOCRProcessor", "UnlimitedOCRProcessor", "PaddleOCRVLProcessor"})
_NOT_SEEN = frozenset({"attention_mask", "labels", "num_image_tokens"})


class DeepseekProcessor:
    """DeepSeek-OCR's, and those made after it.

    It puts a token in front, leaves the last one out unless told otherwise (as if it ended the text), and makes two arrays of each
    picture: its parts, and the whole of it.
    """

    def __init__(self, processor: Any) -> None:
        self.tokenizer = processor.tokenizer
        self._processor = processor

    def __call__(self, *, text: str, images: Sequence[PIL.Image.Image]) -> Mapping[str, Any]:
        """NumPy arrays by the names that models know, without the token in front."""
        made = self._processor(text=text, images=list(images), inference_mode=False)
        arrays = {name: _plain(value) for name, value in made.items() if name not in _NOT_SEEN}
        arrays["pixel_values"] = arrays.pop("images")
        for name in ("input_ids", "images_seq_mask"):
            arrays[name] = arrays[name][:, 1:]
        return arrays


def as_called(processor: Any) -> Any:
    """A processor of mlx-vlm or transformers, as pictures are read with it."""
    return DeepseekProcessor(processor) if "inference_mode" in signature(processor.__call__).parameters else processor


def takes_one(processor: Any) -> bool:
    """Whether it, or its model in mlx-vlm, can be given one picture at a time and no more."""
    return type(processor).__name__ in _ALONE


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return np.array(value.astype(mx.float32) if value.dtype == mx.bfloat16 else value)  # NumPy has no bfloat16
