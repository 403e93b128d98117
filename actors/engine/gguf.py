"""Converts a GGUF file of the llama architecture into an MLX model folder. Knows one tokenizer: byte-level BPE as SmolLM has it.

Run as a program (`python -m actors.engine.gguf GGUF FOLDER`), it prints a line `Progress X of Y` for each tensor.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits
from tokenizers.pre_tokenizers import Sequence as PreTokenizers

_GROUP_SIZE = 32  # elements that share a scale, in each of GGUF's quantizations that MLX keeps
_CONTROL, _USER_DEFINED = 3, 4  # values of tokenizer.ggml.token_type
_TENSOR = re.compile(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|scales|biases)")
_MODEL_MODULES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER_MODULES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOKENIZER_LISTS = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges")
_SPECIAL_TOKENS = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}


def convert(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Write a GGUF file as a model folder that mlx-lm loads.

    Args:
        gguf: The file. Q4_0, Q4_1 and Q8_0 tensors stay quantized; MLX makes float16 of other quantizations.
        folder: Where to; must not exist.
        progress: Called with the tensors converted so far and their number.

    Raises:
        ValueError: When the file can't be read, or its architecture or tokenizer is not one that this module knows.
        FileExistsError: When the folder exists.
    """
    try:
        loaded: Any = mx.load(str(gguf), format="gguf", return_metadata=True)
    except RuntimeError as error:
        raise ValueError(f"{gguf.name} can't be read as GGUF: {error}") from error
    tensors, metadata = loaded
    write_model(tensors, metadata, folder, progress)


def write_model(
    tensors: Mapping[str, mx.array], metadata: Mapping[str, Any], folder: Path, progress: Callable[[int, int], None]
) -> None:
    """Write what `mx.load` reads from a GGUF file as a model folder; see `convert`.

    Args:
        tensors: By GGUF's names. A quantized one is three: weight (uint32, packed along the last axis), scales and
            biases (float16, one for 32 elements).
        metadata: By GGUF's keys: strings, lists of strings, arrays.
        folder: Where to; must not exist.
        progress: Called with the tensors converted so far and their number.
    """
    _check(metadata)
    tokenizer = build_tokenizer(metadata)
    weights = convert_tensors(tensors, metadata, progress)
    config = build_config(weights, metadata)
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(metadata))
    _write_json(folder / "generation_config.json", _token_ids(metadata))
    (folder / "README.md").write_text(_readme(folder.name, metadata), "utf-8")
    # Last, as a folder without it is no model.
    _write_json(folder / "config.json", config)


def convert_tensors(
    tensors: Mapping[str, mx.array], metadata: Mapping[str, Any], progress: Callable[[int, int], None]
) -> dict[str, mx.array]:
    """The tensors under mlx-lm's names, rows of q and k in its order, and one floating type throughout.

    That type is the embedding's (of its scales, if quantized): GGUF holds norms in float32 whatever the rest is in, and
    one float32 norm would make every later product a float32 one.

    Raises:
        ValueError: When a tensor has no place in a llama.
    """
    dtype = _float_type(tensors)
    heads = {"attn_q": _number(metadata, "llama.attention.head_count"), "attn_k": _kv_heads(metadata)}
    weights = {}
    for done, (name, tensor) in enumerate(sorted(tensors.items()), 1):
        module, target = _target(name)
        ordered = unpermute(tensor, heads[module]) if module in heads else tensor
        weights[target] = ordered.astype(dtype) if mx.issubdtype(ordered.dtype, mx.floating) else ordered
        mx.eval(weights[target])
        progress(done, len(tensors))
    return weights


def unpermute(rows: mx.array, heads: int) -> mx.array:
    """Rows of q or k from GGUF's order to that of Hugging Face and mlx-lm, head by head.

    Rotary embedding turns pairs of rows of a head. GGUF has a pair side by side (0, 1, 2, 3, …), mlx-lm half a head
    apart (0, 2, 4, …, 1, 3, 5, …). Whole rows move, so packed weights, scales and biases are treated alike.

    Args:
        rows: (heads · head_dim, columns), any dtype.
        heads: How many heads the rows are of.

    Returns:
        An array of the same shape and dtype.
    """
    pairs = rows.reshape(heads, rows.shape[0] // heads // 2, 2, rows.shape[1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def build_config(weights: Mapping[str, mx.array], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The `config.json` of a converted model, with what is quantized and how under `quantization`."""
    hidden, heads = _number(metadata, "llama.embedding_length"), _number(metadata, "llama.attention.head_count")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": _number(metadata, "llama.block_count"),
        "intermediate_size": _number(metadata, "llama.feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": _kv_heads(metadata),
        "head_dim": _number(metadata, "llama.attention.key_length", hidden // heads),
        "max_position_embeddings": _number(metadata, "llama.context_length"),
        "rms_norm_eps": _number(metadata, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": _number(metadata, "llama.rope.freq_base", 10000.0),
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "vocab_size": weights["model.embed_tokens.weight"].shape[0],
        "tie_word_embeddings": "lm_head.weight" not in weights,
        "torch_dtype": str(weights["model.norm.weight"].dtype).removeprefix("mlx.core."),
        **_token_ids(metadata),
    }
    quantization = _quantization(weights)
    return config | {"quantization": quantization} if quantization else config


def build_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer: byte-level BPE that takes digits one by one.

    Raises:
        ValueError: When the metadata describes another kind.
    """
    model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if (model, pre) != ("gpt2", "smollm"):
        raise ValueError(f"The tokenizer '{model}' with pre-tokenizer '{pre}' is unknown; 'gpt2' with 'smollm' is known.")
    for key in ("tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token"):
        if key in metadata and _number(metadata, key):
            raise ValueError(f"The tokenizer adds tokens around a text ({key}), which is not supported.")
    missing = [key for key in _TOKENIZER_LISTS if key not in metadata]
    if missing:
        raise ValueError(f"The file's metadata has no '{missing[0]}'.")
    tokens: Sequence[str] = metadata["tokenizer.ggml.tokens"]
    kinds: Sequence[int] = metadata["tokenizer.ggml.token_type"].tolist()
    merges = [_pair(merge) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(BPE(vocab={token: token_id for token_id, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = PreTokenizers([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = ByteLevelDecoder()
    added = [(token, kind) for token, kind in zip(tokens, kinds, strict=True) if kind in (_CONTROL, _USER_DEFINED)]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token, kind in added if kind == _CONTROL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token, kind in added if kind == _USER_DEFINED])
    return tokenizer


def main(arguments: Sequence[str]) -> int:
    """Convert a file, its path and the folder's given as arguments; the exit status."""
    if len(arguments) != 2:
        print("usage: python -m actors.engine.gguf GGUF FOLDER", file=sys.stderr)  # noqa: T201 - a program's own output
        return 2
    try:
        convert(Path(arguments[0]), Path(arguments[1]), _print_progress)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program's own output
        return 1
    return 0


def _print_progress(done: int, total: int) -> None:
    print(f"Progress {done} of {total}", flush=True)  # noqa: T201 - a program's own output


def _check(metadata: Mapping[str, Any]) -> None:
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise ValueError(f"The architecture '{architecture}' is unknown; 'llama' is known.")
    scaling = metadata.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise ValueError(f"Rotary embedding with scaling '{scaling}' is not supported.")
    heads = _number(metadata, "llama.attention.head_count")
    head_dim = _number(metadata, "llama.attention.key_length", _number(metadata, "llama.embedding_length") // heads)
    if _number(metadata, "llama.rope.dimension_count", head_dim) != head_dim:
        raise ValueError("Rotary embedding of a part of each head is not supported.")
    if "llama.expert_count" in metadata and _number(metadata, "llama.expert_count"):
        raise ValueError("A llama with experts is not supported.")


def _target(name: str) -> tuple[str, str]:
    """GGUF's module that a tensor belongs to, and mlx-lm's name of the tensor."""
    match = _TENSOR.fullmatch(name)
    if match:
        layer, module, part = match.groups()
        known = _MODEL_MODULES if layer is None else _LAYER_MODULES
        if module in known:
            prefix = "" if layer is None else f"model.layers.{layer}."
            return module, f"{prefix}{known[module]}.{part}"
    raise ValueError(f"The tensor '{name}' has no place in a llama.")


def _float_type(tensors: Mapping[str, mx.array]) -> Any:
    for name in ("token_embd.scales", "token_embd.weight"):
        if name in tensors:
            return tensors[name].dtype
    raise ValueError("The file has no token embedding.")


def _quantization(weights: Mapping[str, mx.array]) -> dict[str, Any]:
    """Bits of most modules, and of each module that has others; empty when nothing is quantized."""
    modules = [name.removesuffix(".scales") for name in weights if name.endswith(".scales")]
    # A row of the weight packs 32 bits a word, a row of the scales stands for 32 elements a scale.
    bits = {m: weights[f"{m}.weight"].shape[-1] * 32 // (weights[f"{m}.scales"].shape[-1] * _GROUP_SIZE) for m in modules}
    if not bits:
        return {}
    usual = Counter(bits.values()).most_common(1)[0][0]
    others = {m: {"group_size": _GROUP_SIZE, "bits": b} for m, b in bits.items() if b != usual}
    return {"group_size": _GROUP_SIZE, "bits": usual, **others}


def _number(metadata: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """A number of the metadata. Floats are rounded to the seven digits that a float32 has: 1e-05, not 9.999999747e-06."""
    value = metadata.get(key, default)
    if value is None:
        raise ValueError(f"The file's metadata has no '{key}'.")
    if isinstance(value, mx.array):
        if value.size != 1:
            raise ValueError(f"'{key}' has {value.size} values; one is supported.")
        value = value.item()
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _kv_heads(metadata: Mapping[str, Any]) -> int:
    heads = _number(metadata, "llama.attention.head_count")
    return int(_number(metadata, "llama.attention.head_count_kv", heads))


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _token_ids(metadata: Mapping[str, Any]) -> dict[str, int]:
    """The special tokens that the file names, but for the unknown one, which byte-level BPE never meets."""
    keys = {f"{name}_id": f"tokenizer.ggml.{key}_token_id" for name, key in _SPECIAL_TOKENS.items() if key != "unknown"}
    return {name: _number(metadata, key) for name, key in keys.items() if key in metadata}


def _tokenizer_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    tokens = metadata["tokenizer.ggml.tokens"]
    keys = {name: f"tokenizer.ggml.{key}_token_id" for name, key in _SPECIAL_TOKENS.items()}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _number(metadata, "llama.context_length"),
        "clean_up_tokenization_spaces": False,
        **{name: tokens[_number(metadata, key)] for name, key in keys.items() if key in metadata},
    }
    template = metadata.get("tokenizer.chat_template")
    return config | {"chat_template": template} if template else config


def _readme(name: str, metadata: Mapping[str, Any]) -> str:
    license_name = metadata.get("general.license", "unknown")
    maker = metadata.get("general.organization", "an unnamed maker")
    original = metadata.get("general.name", "without a name")
    return (
        f"---\nlicense: {license_name}\nlibrary_name: mlx\n---\n\n# {name}\n\n"
        f"{name} by {maker}, converted from GGUF to MLX's format without a change to its quantized weights. "
        f"The GGUF file calls the model '{original}'.\n\nLicense: {license_name}, as that file states.\n"
    )


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # MLX may abort in the interpreter's own way out, after the work is done
