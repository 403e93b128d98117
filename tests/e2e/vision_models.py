"""Vision-language models of known shapes: the demo model's words with a random eye, and small ones that are random altogether."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.utils import dequantize_model, load_model
from mlx_vlm.utils import get_model_and_args
from transformers import AutoTokenizer

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}PICTURE{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SMOL_TOKENS = (
    "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)  # fmt: skip
_QWEN_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def write_smolvlm(folder: Path, words: Path) -> None:
    """A SmolVLM whose language half is a llama's from a folder, its eye random: 16 tokens a picture."""
    tokenizer = make_tokenizer(folder, words, _SMOL_TOKENS, "<image>")
    text = json.loads((words / "config.json").read_text())
    taken = (
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "num_hidden_layers",
        "rms_norm_eps",
    )
    config = {
        "model_type": "smolvlm",
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
        "vocab_size": len(tokenizer),
        "eos_token_id": text["eos_token_id"],
        "max_position_embeddings": text["max_position_embeddings"],
        "text_config": {
            **{name: text[name] for name in taken},
            "model_type": "llama",
            "rope_theta": text["rope_theta"],
            "vocab_size": len(tokenizer),
            "max_position_embeddings": text["max_position_embeddings"],
        },
        "vision_config": {
            "hidden_size": 64, "num_attention_heads": 4, "patch_size": 8, "image_size": 64,
            "num_hidden_layers": 2, "intermediate_size": 128,
        },
    }  # fmt: skip
    write_json(folder / "processor_config.json", {"image_seq_len": 16, "processor_class": "SmolVLMProcessor"})
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "SmolVLMImageProcessor", "processor_class": "SmolVLMProcessor",
            "do_convert_rgb": True, "do_image_splitting": False, "do_normalize": True, "do_pad": True, "do_rescale": True,
            "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 1 / 255,
            "max_image_size": {"longest_edge": 64}, "size": {"longest_edge": 64}, "resample": 1,
        },
    )  # fmt: skip
    model = make_random(config)
    language, _ = load_model(words, lazy=True)
    language = dequantize_model(language)
    language.set_dtype(mx.float32)
    weights = dict(tree_flatten(language.model.parameters()))
    rows = weights["embed_tokens.weight"]
    more = mx.random.normal((len(tokenizer) - rows.shape[0], rows.shape[1])) * 0.02
    weights["embed_tokens.weight"] = mx.concatenate([rows, more])
    weights["lm_head.weight"] = mx.concatenate([rows, mx.zeros_like(more)])
    model.language_model.update(tree_unflatten(list(weights.items())))
    save(folder, model, config)


def write_qwen2_vl(folder: Path, words: Path) -> None:
    """A small random Qwen2-VL, whose rotary positions have three axes."""
    write_qwen2(folder, words, "qwen2_vl", {"embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2})


def write_qwen2(folder: Path, words: Path, model_type: str, eye: dict[str, Any]) -> None:
    """A small random model of the Qwen2-VLs."""
    tokenizer = make_tokenizer(folder, words, _QWEN_TOKENS, "<|vision_start|><|image_pad|><|vision_end|>")
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in zip(
        ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"), _QWEN_TOKENS, strict=True)}  # fmt: skip
    text = {
        "model_type": model_type, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "vocab_size": len(tokenizer), "rope_theta": 1e6, "tie_word_embeddings": True,
        "max_position_embeddings": 4096, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
    }  # fmt: skip
    vision = {
        "model_type": model_type, "depth": 2, "patch_size": 14,
        "in_channels": 3, "spatial_patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, **eye,
    }  # fmt: skip
    config = {
        "model_type": model_type, **ids, **{name: value for name, value in text.items() if name != "model_type"},
        "text_config": text, "vision_config": vision, "eos_token_id": 2,
    }  # fmt: skip
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor", "merge_size": 2, "patch_size": 14,
            "temporal_patch_size": 2, "min_pixels": 28 * 28, "max_pixels": 28 * 28 * 16,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        },
    )  # fmt: skip
    save(folder, make_random(config), config)


def write_qwen3_vl(folder: Path, words: Path) -> None:
    """A small random Qwen3-VL, whose pictures are added to hidden states of its first layers too."""
    write_qwen3(folder, words, "qwen3_vl", {"deepstack_visual_indexes": [0, 1]}, {"head_dim": 16, "rope_scaling": MROPE})


def write_qwen3_5(folder: Path, words: Path) -> None:
    """A small random Qwen3.5, most of whose layers keep a state in place of KV."""
    text = {
        "head_dim": 32, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16,
        "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "full_attention_interval": 2,
        "rope_parameters": {"type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e5, "partial_rotary_factor": 0.25},
    }  # fmt: skip
    write_qwen3(folder, words, "qwen3_5", {"deepstack_visual_indexes": []}, text)


MROPE = {"type": "default", "rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True}


def write_qwen3(folder: Path, words: Path, model_type: str, eye: dict[str, Any], more: dict[str, Any]) -> None:
    """A small random model of the Qwen3-VLs and Qwen3.5s."""
    tokenizer = make_tokenizer(folder, words, _QWEN_TOKENS, "<|vision_start|><|image_pad|><|vision_end|>")
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in zip(
        ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"), _QWEN_TOKENS, strict=True)}  # fmt: skip
    text = {
        "model_type": f"{model_type}_text", "hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 128,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "vocab_size": len(tokenizer),
        "rope_theta": 1e6, "tie_word_embeddings": False, "max_position_embeddings": 4096, "eos_token_id": 2, **more,
    }  # fmt: skip
    vision = {
        "model_type": model_type, "depth": 3, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "num_heads": 2,
        "patch_size": 16, "spatial_patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 64,
        "in_channels": 3, **eye,
    }  # fmt: skip
    config = {
        "model_type": model_type, **ids, "image_token_index": ids["image_token_id"], "video_token_index": ids["video_token_id"],
        "vocab_size": len(tokenizer), "text_config": text, "vision_config": vision, "eos_token_id": 2,
    }  # fmt: skip
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen3VLProcessor", "merge_size": 2, "patch_size": 16,
            "temporal_patch_size": 2, "min_pixels": 32 * 32, "max_pixels": 32 * 32 * 16,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        },
    )  # fmt: skip
    save(folder, make_random(config), config)


def make_tokenizer(folder: Path, words: Path, more: tuple[str, ...], picture: str, names: dict[str, str] | None = None) -> Any:
    """A folder's tokenizer with more tokens, some of which have names, and a template that has a text for each picture."""
    folder.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(words)
    tokenizer.add_special_tokens({"additional_special_tokens": list(more)})
    if names:
        tokenizer._set_model_specific_special_tokens(names)
    tokenizer.chat_template = _TEMPLATE.replace("PICTURE", picture)
    tokenizer.save_pretrained(folder)
    if (words / "generation_config.json").exists():
        shutil.copy(words / "generation_config.json", folder)
    return tokenizer


def make_random(config: dict[str, Any]) -> Any:
    """A model of mlx-vlm's, float32."""
    mx.random.seed(0)
    architecture, _ = get_model_and_args(config)
    wanted = architecture.ModelConfig.from_dict(deepcopy(config))
    parts = (("text_config", "TextConfig"), ("vision_config", "VisionConfig"), ("perceiver_config", "PerceiverConfig"))
    for name, kind in parts:
        if isinstance(given := getattr(wanted, name, None), dict):
            setattr(wanted, name, getattr(architecture, kind).from_dict(given))
    model = architecture.Model(wanted)
    model.set_dtype(mx.float32)
    return model


def save(folder: Path, model: Any, config: dict[str, Any]) -> None:
    """Its weights and its configuration."""
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), metadata={"format": "mlx"})
    write_json(folder / "config.json", config)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """A file of a model's folder."""
    file.write_text(json.dumps(content))
