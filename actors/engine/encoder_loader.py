"""Loads an embedding model or a reranker for this machine's device, with mlx-vlm's loaders."""

import json
from typing import Any

from actors.contracts import EngineOptions
from actors.engine.embedding_rules import longest_text, read_rules
from actors.engine.encoder_backend import Encoder, EncoderBackend
from actors.engine.encoder_text import Pairs, Questions, Texts
from actors.engine.loader import allow_own_code, device_name, for_this_device, warnings
from actors.models import ModelInfo, ModelType
from scheduler.mlx.device import device_kind, gpu_memory

_FALLBACK_LONGEST = 512  # tokens, for the rare model whose files don't say
_LONGEST = 8192  # tokens: attention's memory grows with the square


def load_encoder(model: ModelInfo, options: EngineOptions) -> EncoderBackend:
    """Load a model and its tokenizer. Call on the thread that will compute. As to code of the folder's own, see `load_backend`."""
    trusted = allow_own_code(model, options)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.path, trust_remote_code=trusted)
    load = _embedder if model.type is ModelType.EMBEDDING else _reranker
    encoder, longest = load(model, tokenizer, trusted)
    return EncoderBackend(
        encoder=encoder,
        context_length=longest,
        device=device_name(),
        warnings=warnings(),
        device_bytes=gpu_memory if device_kind() == "cuda" else None,
    )


def _embedder(model: ModelInfo, tokenizer: Any, trusted: bool) -> tuple[Encoder, int]:
    from mlx_vlm.embedding_loader import load_embedding_model

    from actors.engine.encoders import Embedder

    rules = read_rules(model.path)
    longest = _longest(model, tokenizer, rules.longest)
    network = _exact(load_embedding_model(model.path, lazy=True, trust_remote_code=trusted))
    network.pooling_config = rules.pooling
    texts = Texts(tokenizer, longest, getattr(network.config, "vocab_size", len(tokenizer)), rules.prefix)
    return Embedder(network, texts.read, rules, _pad(tokenizer)), longest


def _reranker(model: ModelInfo, tokenizer: Any, trusted: bool) -> tuple[Encoder, int]:
    from mlx_vlm.reranker import RerankerKind, reranker_kind

    from actors.engine.encoders import PairClassifier, YesOrNo

    longest = _longest(model, tokenizer)
    config = json.loads((model.path / "config.json").read_bytes())
    kind = reranker_kind(config)
    if kind is RerankerKind.SEQUENCE_CLASSIFIER:
        from mlx_vlm.reranker_loader import load_sequence_classification_model

        network = _exact(load_sequence_classification_model(model.path, lazy=True, trust_remote_code=trusted))
        segments = getattr(network.config, "type_vocab_size", 1) > 1
        return PairClassifier(network, Pairs(tokenizer, longest, segments=segments).read, _pad(tokenizer)), longest
    if kind is RerankerKind.GENERATIVE_TEXT:
        from mlx_lm.utils import load_model

        network, _ = load_model(model.path, lazy=True, trust_remote_code=trusted)
        yes, no = (_token(tokenizer, word) for word in ("yes", "no"))
        return YesOrNo(for_this_device(network, generates=False), Questions(tokenizer, longest).read, yes, no), longest
    raise ValueError(f"a reranker of model_type '{model.architecture}' judges pictures too, which oMLX doesn't do")


def _exact(network: Any) -> Any:
    """A network of mlx-vlm for this machine's device. Its ModernBERT has an approximation in place of the GELU it was trained with."""
    if network.model_type == "modernbert":
        from mlx import nn

        for module in network.modules():
            if type(module) is nn.GELU:
                module._approx = "none"  # noqa: SLF001 - a layer can't be made anew where it stands
    return for_this_device(network, generates=False)


def _longest(model: ModelInfo, tokenizer: Any, more: int | None = None) -> int:
    known = longest_text(model.context_length, tokenizer.model_max_length, more)
    return min(known or _FALLBACK_LONGEST, _LONGEST)


def _pad(tokenizer: Any) -> int:
    return tokenizer.pad_token_id or 0


def _token(tokenizer: Any, word: str) -> int:
    tokens = tokenizer.encode(word, add_special_tokens=False)
    if len(tokens) != 1:
        raise ValueError(f"its tokenizer has no token for '{word}'")
    return int(tokens[0])
