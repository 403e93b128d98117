"""Loads a vision-language model by mlx-vlm, with what prepares its pictures."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_vlm.utils import load_config, load_model, load_processor

from actors.engine.pictures import PictureReader
from actors.engine.prompt import TEXT_ALONE, NoPictures, ReadsPictures
from scheduler.mlx.head import LastPosition
from scheduler.mlx.pictures import PictureFeatures
from scheduler.mlx.vision_language import VisionLanguage

_log = logging.getLogger(__name__)
_FEATURE_BYTES = 256 << 20  # of pictures' features, kept for the next turn


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
    model = load_model(path, lazy=True, trust_remote_code=trusted)
    processor = load_processor(path, add_detokenizer=False, trust_remote_code=trusted)
    network = VisionLanguage(model)
    own = getattr(processor, "tokenizer", processor)
    if getattr(own, "chat_template", None) is None:
        own.chat_template = getattr(processor, "chat_template", None)
    token_id = next((config[key] for key in ("image_token_id", "image_token_index") if isinstance(config.get(key), int)), None)
    token = _placeholder(processor, own, None if token_id is None else own.convert_ids_to_tokens(token_id))
    if token is None:
        raise ValueError("nothing says what stands for a picture in this model's prompts")
    if token_id is None:
        token_id = own.convert_tokens_to_ids(token)
    ends = config.get("eos_token_id")
    tokenizer = TokenizerWrapper(own, eos_token_ids=[ends] if isinstance(ends, int) else ends)
    return Loaded(
        network,
        model,
        tokenizer,
        config,
        PictureReader(processor, str(token), token_id, PictureFeatures(network, _FEATURE_BYTES)),
    )


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
        return NoPictures(str(error) or type(error).__name__)
    return loaded.pictures
