"""What a model's `config.json` says of it."""

from collections.abc import Mapping
from typing import Any

# Where the context length stands, by family; multimodal models nest their language model's configuration.
_CONTEXT_KEYS = ("max_position_embeddings", "max_seq_len", "n_positions", "n_ctx", "seq_length", "model_max_length")
_NESTED = ("text_config", "llm_config", "language_config")


def context_length(config: Mapping[str, Any]) -> int | None:
    """Tokens of prompt and answer together that a model was made for, or None where its configuration doesn't say."""
    for part in (config, *(config[key] for key in _NESTED if isinstance(config.get(key), Mapping))):
        for key in _CONTEXT_KEYS:
            value = part.get(key)
            if isinstance(value, int) and value > 0:
                return value
    return None
