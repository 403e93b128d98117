"""Loads a vision-language model by mlx-vlm, with what prepares its pictures."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_vlm.prompt_utils import MODEL_CONFIG, MessageFormat
from mlx_vlm.utils import load_config, load_model, load_processor

from actors.engine.pictures import PictureReader
from actors.engine.processor import as_called, takes_one
from actors.engine.prompt import TEXT_ALONE, NoPictures, ReadsPictures
from actors.models import PICTURE_BYTES
from scheduler.mlx.head import LastPosition
from scheduler.mlx.pictures import PictureFeatures
from scheduler.mlx.vision_language import VisionLanguage

_log = logging.getLogger(__name__)
# How models without turns are asked: pictures and words as they stand. By what stands between a picture and the words after it.
_BARE = {MessageFormat.IMAGE_TOKEN: "", MessageFormat.IMAGE_TOKEN_NEWLINE: "\n", MessageFormat.SINGLE_IMAGE_TOKEN: ""}
_BARE_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if not loop.first %}{{ '\n\n' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ PICTURE }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model whose weights have not been read yet.

    Attributes:
        network: What a runner steps.
        weights: The module that holds the weights.
        tokenizer: Text to token ids and back.
        config: The model's.
        pictures: Reads conversations with pictures, where the model takes any.
    """

    network: Any
    weights: Any
    tokenizer: Any
    config: dict[str, Any]
    pictures: PictureReader | None = None


def load_vision(path: Path, trusted: bool) -> Loaded:
    """A model of a folder; `trusted` lets Python files of the folder be run. Raises `ValueError` where it can't be served."""
    config = load_config(path, trust_remote_code=trusted)
    if config.get("model_type") == "deepseek_vl_v2" and any("OCR" in str(each) for each in config.get("architectures") or ()):
        raise ValueError(
            "it is a DeepSeek-OCR that calls itself deepseek_vl_v2, by which mlx-vlm loads another model. Take a conversion "
            "(mlx-community on Hugging Face has some), whose model_type is deepseekocr or deepseekocr_2"
        )
    model = load_model(path, lazy=True, trust_remote_code=trusted)
    processor = load_processor(path, add_detokenizer=False, trust_remote_code=trusted)
    network = VisionLanguage(model)
    own = getattr(processor, "tokenizer", processor)
    token_id = next((config[key] for key in ("image_token_id", "image_token_index") if isinstance(config.get(key), int)), None)
    known = None if token_id is None else own.convert_ids_to_tokens(token_id)
    if getattr(own, "chat_template", None) is None:
        own.chat_template = _template(
            processor, str(config.get("model_type")), str(getattr(processor, "image_token", None) or known)
        )
    token = _placeholder(processor, own, known)
    if token is None:
        raise ValueError("nothing says what stands for a picture in this model's prompts")
    if token_id is None:
        token_id = own.convert_tokens_to_ids(token)
    if hasattr(processor, "image_token_id"):
        processor.image_token_id = token_id  # DOTS-OCR's has a number of its own
    ends = config.get("eos_token_id")
    tokenizer = TokenizerWrapper(own, eos_token_ids=[ends] if isinstance(ends, int) else ends)
    return Loaded(
        network,
        model,
        tokenizer,
        config,
        PictureReader(as_called(processor), token, token_id, PictureFeatures(network, PICTURE_BYTES), alone=takes_one(processor)),
    )


def _template(processor: Any, model_type: str, token: str) -> str | None:
    """A chat template for a model whose folder has none, if its processor brings one or mlx-vlm knows how its prompts are written."""
    given: str | None = getattr(processor, "chat_template", None)
    if given is not None and given != getattr(processor, "default_chat_template", None):
        return given
    # DeepSeek-OCR's default leaves the token out that begins a text, and ends in a space.
    between = _BARE.get(MODEL_CONFIG.get(model_type.lower()))
    return given if between is None else _BARE_TEMPLATE.replace("PICTURE", repr(token + between))


def _placeholder(processor: Any, tokenizer: Any, token: str | None) -> str | None:
    """What the processor puts a picture in place of: of the texts that it may be, that which the chat template has for one.

    Args:
        processor: The model's, which may name texts.
        tokenizer: Its tokenizer.
        token: What the model itself knows a part of a picture by.
    """
    named = [str(name) for name in (*(getattr(processor, key, None) for key in ("image_token", "boi_token")), token) if name]
    conversation = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
    try:
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
    except Exception:  # templates are programs of their own
        text = ""
    return next((name for name in (*named, "<image>") if name in text), named[0] if named else None)


def taken_pictures(loaded: Loaded, head: LastPosition | None) -> ReadsPictures:
    """What reads the model's pictures, once its weights are there: found out by having it look at some.

    A model that mlx-vlm runs, and whose pictures ask for more than features of their own tokens, answers text all the same.
    """
    if loaded.pictures is None:
        return TEXT_ALONE
    try:
        loaded.pictures.probe(loaded.tokenizer, head)
    except Exception as error:
        _log.warning("pictures can't be served with this model", exc_info=error)
        return NoPictures(str(error).rstrip(".") or type(error).__name__)
    return loaded.pictures
