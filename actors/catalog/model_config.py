"""What a model's `config.json` and the small files beside it say of it."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from actors.settings import SAMPLING, Form

# Where the context length stands, by family; multimodal models nest their language model's configuration.
_CONTEXT_KEYS = (
    "max_position_embeddings", "max_sequence_length", "max_seq_len", "n_positions", "n_ctx", "seq_length", "model_max_length",
)  # fmt: skip
_NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
_RECURRENT_LAYERS = ("linear_attention", "mamba", "conv", "recurrent")
_NAMES = {"max_tokens": "max_new_tokens"}  # of our settings in `generation_config.json`, where they differ
_FROM_GENERATION = ("max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_KV_NUMBER_BYTES = 2


def parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A configuration and those of language models nested in it, outermost first."""
    yield config
    for key in _NESTED:
        if isinstance(config.get(key), Mapping):
            yield from parts(config[key])


def context_length(config: Mapping[str, Any]) -> int | None:
    """Tokens of prompt and answer together that a model was made for, or None where its configuration doesn't say."""
    for part in parts(config):
        for key in _CONTEXT_KEYS:
            value = _count(part, key)
            if value:
                # These families number positions from after their padding token.
                return value - (_count(part, "pad_token_id") + 1 if "roberta" in str(part.get("model_type")) else 0)
    return None


def kv_bytes_per_token(config: Mapping[str, Any]) -> int:
    """Bytes of KV that one token takes with two bytes a number, or 0 where the configuration doesn't say.

    Layers with a window count as others do; recurrent ones keep nothing by token and don't count.
    """
    for part in parts(config):
        layers = _attention_layers(part)
        heads = _count(part, "num_attention_heads") or _count(part, "n_head") or _count(part, "n_heads")
        if not layers:
            continue
        if latent := _count(part, "kv_lora_rank"):
            return layers * (latent + _count(part, "qk_rope_head_dim")) * _KV_NUMBER_BYTES
        if not heads:
            continue
        hidden = _count(part, "hidden_size") or _count(part, "n_embd") or _count(part, "d_model")
        head_dim = _count(part, "head_dim") or hidden // heads
        kv_heads = _count(part, "num_key_value_heads") or (1 if part.get("multi_query") is True else heads)
        return 2 * layers * kv_heads * head_dim * _KV_NUMBER_BYTES
    return 0


def _attention_layers(part: Mapping[str, Any]) -> int:
    layers = _count(part, "num_hidden_layers") or _count(part, "n_layer") or _count(part, "n_layers")
    if isinstance(kinds := part.get("layer_types"), list):
        return sum(not any(word in str(kind) for word in _RECURRENT_LAYERS) for kind in kinds)
    if isinstance(pattern := part.get("hybrid_override_pattern"), str):
        return pattern.count("*")
    if isinstance(indices := part.get("full_attn_idxs"), list):
        return len(indices)
    every = _count(part, "full_attention_interval") or _count(part, "attn_layer_period")
    return layers // every if every else layers


def quantization(config: Mapping[str, Any]) -> str | None:
    """What a model's weights are quantized to, for people; None where they aren't."""
    ours = config.get("quantization")
    if isinstance(ours, Mapping) and _count(ours, "bits"):
        label = _label(ours)
        layers = {_label({**ours, **each}) for each in ours.values() if isinstance(each, Mapping)}
        return label if layers <= {label} else f"{label} (mixed)"
    for part in parts(config):
        theirs = part.get("quantization_config")
        if isinstance(theirs, Mapping):
            method = theirs.get("quant_method")
            name = method if isinstance(method, str) else None
            bits = _count(theirs, "bits")
            return f"{bits}-bit ({name})" if bits and name else f"{bits}-bit" if bits else name
    return None


def _label(quantization: Mapping[str, Any]) -> str:
    mode = quantization.get("mode", "affine")
    return mode if isinstance(mode, str) and mode != "affine" else f"{_count(quantization, 'bits')}-bit"


def layer_bits(config: Mapping[str, Any], layer: str) -> int | None:
    """Bits of a number in a quantized layer."""
    ours = config.get("quantization")
    if not isinstance(ours, Mapping):
        ours = config.get("quantization_config")
    if not isinstance(ours, Mapping):
        return None
    own = ours.get(layer)
    return (_count(own, "bits") if isinstance(own, Mapping) else 0) or _count(ours, "bits") or None


def generation(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a `generation_config.json` says of sampling, by the names of our settings; values that can't be are left out."""
    found = {}
    for setting in SAMPLING:
        value = config.get(_NAMES.get(setting.name, setting.name)) if setting.name in _FROM_GENERATION else None
        right = isinstance(value, int) if setting.form is Form.INTEGER else isinstance(value, int | float)
        if value is None or not right or isinstance(value, bool) or not math.isfinite(value):
            continue
        if (setting.least is None or value >= setting.least) and (setting.most is None or value <= setting.most):
            found[setting.name] = value
    if config.get("do_sample") is False:
        # Its author wants the likeliest token each time; what else stands there is left over from templates.
        found = {name: value for name, value in found.items() if name in ("max_tokens", "repetition_penalty")} | {
            "temperature": 0.0
        }
    return found


def named_code(*configs: Mapping[str, Any]) -> set[str]:
    """Python files that configurations want to be run: under `auto_map`, of this or another repository, or `model_file`."""
    found = set()
    for config in configs:
        if isinstance(file := config.get("model_file"), str):
            found.add(file)
        classes = config.get("auto_map")
        for value in classes.values() if isinstance(classes, Mapping) else ():
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str) and "." in name:
                    found.add(f"{name.rpartition('.')[0]}.py")
    return found


def _count(part: Mapping[str, Any], key: str) -> int:
    value = part.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
