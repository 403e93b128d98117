"""Puts pictures into a conversation: decodes them, has the model's processor prepare them, and finds their places in the prompt."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from actors.contracts import ChatPrompt, Image
from actors.engine.prompt import Prompt
from actors.engine.text import Tokenizer, chat_text, takes_parts
from actors.errors import InvalidJobError
from scheduler.mlx.pictures import Picture, PictureFeatures, PicturePrompt

_KEPT_BYTES = 128 << 20  # of pictures that are prepared already
_TEXT_KEYS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})


class PictureReader:
    """Reads conversations with pictures for one model. See `actors.engine.prompt.ReadsPictures`.

    Args:
        processor: The model's, as transformers has them: an image and the text that stands for it to token ids and pixels.
        token: The text that stands for a picture in a prompt.
        token_id: What the model knows a part of a picture by.
        features: Makes the pictures' features.
    """

    def __init__(self, processor: Callable[..., Mapping[str, Any]], token: str, token_id: int, features: PictureFeatures) -> None:
        self._processor, self._token, self._token_id, self._features = processor, token, token_id, features
        self._prepared: OrderedDict[bytes, Picture] = OrderedDict()
        self._bytes = 0

    def probe(self) -> None:
        """Look at a small grey picture, on the thread that steps the model. Raises whatever is in the way of pictures."""
        data = BytesIO()
        PIL.Image.new("RGB", (64, 64), "grey").save(data, "PNG")
        self._features.of(self._picture(Image(data.getvalue())))

    def read(self, tokenizer: Tokenizer, prompt: ChatPrompt) -> Prompt:
        """A prompt's tokens and pictures. Raises `InvalidJobError` for a picture or a conversation that can't be read."""
        pictures = [self._picture(image) for image in prompt.images]
        text = self._worded(tokenizer, prompt)
        token_ids: list[int] = []
        places: list[tuple[int, Picture]] = []
        for number, words in enumerate(text):
            if number:
                picture = pictures[number - 1]
                places.append((len(token_ids), picture))
                token_ids += picture.token_ids
            if words:
                token_ids += tokenizer.encode(words, add_special_tokens=False)
        shared = list(token_ids)
        for first, picture in places:
            stand_in = -1 - int.from_bytes(picture.digest[:7])
            for place, token in enumerate(picture.token_ids, first):
                if token == self._token_id:
                    shared[place] = stand_in
        return Prompt(tuple(shared), PicturePrompt(self._features, token_ids, places))

    def _worded(self, tokenizer: Tokenizer, prompt: ChatPrompt) -> list[str]:
        """The conversation's text before, between and after its pictures."""
        if not takes_parts(tokenizer, prompt.template):
            prompt = replace(prompt, messages=tuple(self._flat(message) for message in prompt.messages))
        parts = chat_text(tokenizer, prompt).split(self._token)
        if len(parts) == len(prompt.images) + 1:
            return parts
        raise InvalidJobError(
            f"The messages have {len(prompt.images)} pictures, and the chat template makes {len(parts) - 1} of them. "
            f"Leave {self._token} out of the text.",
            "messages",
        )

    def _flat(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message as one text, for templates that don't know parts."""
        content = message.get("content")
        if not isinstance(content, Sequence) or isinstance(content, str):
            return message
        texts = [f"{self._token}\n" if part.get("type") == "image" else str(part.get("text", "")) for part in content]
        return {**message, "content": "".join(texts)}

    def _picture(self, image: Image) -> Picture:
        digest = sha256(image.data).digest()
        found = self._prepared.get(digest)
        if found is not None:
            self._prepared.move_to_end(digest)
            return found
        try:
            with PIL.Image.open(BytesIO(image.data)) as opened:
                pixels = PIL.ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise InvalidJobError(f"The picture can't be read: {error}", image.param) from error
        try:
            made = self._processor(text=self._token, images=[pixels])
        except ValueError as error:
            raise InvalidJobError(f"The picture can't be taken by this model: {error}", image.param) from error
        token_ids = tuple(int(token) for token in np.array(made["input_ids"]).reshape(-1))
        begin = next((place for place, token in enumerate(token_ids) if token != self._bos), 0)
        inputs = {name: _array(value) for name, value in made.items() if name not in _TEXT_KEYS and value is not None}
        picture = Picture(digest, token_ids[begin:], inputs)
        self._keep(picture)
        return picture

    @property
    def _bos(self) -> int | None:
        """What the tokenizer puts in front of a text, where it does."""
        tokenizer = getattr(self._processor, "tokenizer", None)
        return getattr(tokenizer, "bos_token_id", None)

    def _keep(self, picture: Picture) -> None:
        self._prepared[picture.digest] = picture
        self._bytes += _size(picture)
        while self._bytes > _KEPT_BYTES:
            _, gone = self._prepared.popitem(last=False)
            self._bytes -= _size(gone)


def _size(picture: Picture) -> int:
    return sum(array.nbytes for value in picture.inputs.values() for array in (value if isinstance(value, list) else [value]))


def _array(value: Any) -> Any:
    if isinstance(value, list) and len({np.shape(each) for each in value}) > 1:
        return [np.array(each) for each in value]
    return np.array(value)
