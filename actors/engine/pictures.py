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
from actors.engine.answer_format import PLAIN, AnswerFormat
from actors.engine.picture_text import Framed, lay_out, split_frame
from actors.engine.prompt import Prompt
from actors.engine.text import Tokenizer, chat_text, takes_parts
from actors.errors import InvalidJobError
from scheduler.mlx.head import LastPosition
from scheduler.mlx.pictures import Picture, PictureFeatures, PicturePrompt, on_device
from scheduler.mlx.vision_check import check_pictures
from scheduler.mlx.vision_language import UnsupportedVisionError

_KEPT_BYTES = 128 << 20  # of pictures that are prepared already
_PROBED = (84, 56), (56, 112)  # widths and heights of the pictures that a model is tried with
_TEXT_KEYS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})


class PictureReader:
    """Reads conversations with pictures for one model. See `actors.engine.prompt.ReadsPictures`.

    Args:
        processor: The model's, as transformers has them: an image and the text that stands for it to token ids and pixels.
        token: The text that stands for a picture in a prompt.
        token_id: What the model knows a part of a picture by.
        features: Makes the pictures' features.
        alone: Whether mlx-vlm itself can be asked with one picture only, so that no more can be tried at once.
    """

    def __init__(
        self,
        processor: Callable[..., Mapping[str, Any]],
        token: str,
        token_id: int,
        features: PictureFeatures,
        *,
        alone: bool = False,
    ) -> None:
        self._processor, self._token, self._token_id, self._features = processor, token, token_id, features
        self._probed = _PROBED[:1] if alone else _PROBED
        self._prepared: OrderedDict[bytes, Framed] = OrderedDict()
        self._bytes = 0

    def probe(self, tokenizer: Tokenizer, head: LastPosition | None) -> None:
        """Look at small pictures in a text, on the thread that steps the model. Raises whatever is in the way of pictures.

        The tokens must be those that the processor makes of the whole, and the logits those that mlx-vlm has for it.

        Args:
            tokenizer: The model's.
            head: Its vocabulary head, where it looks at last positions only.
        """
        drawn = [_noise(*size) for size in self._probed]
        pictures = [self._picture(Image(_png(each))) for each in drawn]
        first, *others = self._worded(tokenizer, _probe(pictures=len(drawn)))
        # What begins all texts is left out here as in what the processor makes, which puts it in front or doesn't.
        words = [first.removeprefix(self._tokenizer.bos_token or ""), *others]
        prompt = self._prompt(tokenizer, words, pictures)
        whole = self._made(self._token.join(words), drawn)
        assert isinstance(prompt.inputs, PicturePrompt)
        if tuple(whole["input_ids"][0].tolist()) != prompt.inputs.token_ids:
            raise UnsupportedVisionError(
                "its processor has other tokens for a text with pictures than for the text and the pictures"
            )
        arrays = {name: on_device(value) for name, value in whole.items()}
        check_pictures(self._features.model, head, prompt.token_ids, prompt.inputs, arrays)

    def read(self, tokenizer: Tokenizer, prompt: ChatPrompt, answers: AnswerFormat = PLAIN) -> Prompt:
        """A prompt's tokens and pictures. Raises `InvalidJobError` for a picture or a conversation that can't be read."""
        pictures = [self._picture(image) for image in prompt.images]
        return self._prompt(tokenizer, self._worded(tokenizer, prompt, answers), pictures)

    def _prompt(self, tokenizer: Tokenizer, words: Sequence[str], pictures: Sequence[Framed]) -> Prompt:
        token_ids, places = lay_out(tokenizer, self._token, words, pictures)
        shared = list(token_ids)
        for first, picture in places:
            stand_in = -1 - int.from_bytes(picture.digest[:7])
            for place, token in enumerate(picture.token_ids, first):
                if token == self._token_id:
                    shared[place] = stand_in
        try:
            return Prompt(tuple(shared), PicturePrompt(self._features, token_ids, places))
        except (ValueError, IndexError) as error:
            raise InvalidJobError(f"This model can't place the pictures in the text: {error}", "messages") from error

    def _worded(self, tokenizer: Tokenizer, prompt: ChatPrompt, answers: AnswerFormat = PLAIN) -> list[str]:
        """The conversation's text before, between and after its pictures."""
        if not takes_parts(tokenizer, prompt.template):
            prompt = replace(prompt, messages=tuple(self._flat(message) for message in prompt.messages))
        parts = chat_text(tokenizer, prompt, answers).split(self._token)
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

    def _picture(self, image: Image) -> Framed:
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
            made = self._made(self._token, [pixels])
        except ValueError as error:
            raise InvalidJobError(f"The picture can't be taken by this model: {error}", image.param) from error
        before, token_ids, after = split_frame(self._tokenizer, made["input_ids"][0].tolist())
        inputs = {name: array for name, array in made.items() if name not in _TEXT_KEYS}
        framed = Framed(Picture(digest, token_ids, inputs), before, after)
        self._keep(framed)
        return framed

    def _made(self, text: str, pictures: list[PIL.Image.Image]) -> dict[str, Any]:
        """What the processor makes of a text with pictures, without a token in front that begins all texts.

        NumPy arrays by name, or a list of them for pictures of several sizes.
        """
        made = {name: _array(value) for name, value in self._processor(text=text, images=pictures).items() if value is not None}
        token_ids = made["input_ids"].reshape(-1).tolist()
        begin = next((place for place, token in enumerate(token_ids) if token != self._tokenizer.bos_token_id), 0)
        return {name: array.reshape(1, -1)[:, begin:] if name in _TEXT_KEYS else array for name, array in made.items()}

    @property
    def _tokenizer(self) -> Any:
        return getattr(self._processor, "tokenizer", self._processor)

    def _keep(self, framed: Framed) -> None:
        self._prepared[framed.picture.digest] = framed
        self._bytes += _size(framed)
        while self._bytes > _KEPT_BYTES:
            _, gone = self._prepared.popitem(last=False)
            self._bytes -= _size(gone)


def _size(framed: Framed) -> int:
    return sum(
        array.nbytes for value in framed.picture.inputs.values() for array in (value if isinstance(value, list) else [value])
    )


def _array(value: Any) -> Any:
    if isinstance(value, list) and len({np.shape(each) for each in value}) > 1:
        return [np.array(each) for each in value]
    return np.array(value)


def _probe(pictures: int) -> ChatPrompt:
    """Pictures that follow each other, and words right behind them: some processors have other tokens for pictures there."""
    content = [*({"type": "image"} for _ in range(pictures)), {"type": "text", "text": "What is it?"}]
    return ChatPrompt(({"role": "user", "content": content},), images=(Image(b""),) * pictures)


def _noise(width: int, height: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8))


def _png(drawn: PIL.Image.Image) -> bytes:
    data = BytesIO()
    drawn.save(data, "PNG")
    return data.getvalue()
