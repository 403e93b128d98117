"""Vision-language models of known shapes: the demo model's words with a random eye, and small ones that are random altogether."""

import json
import shutil
from copy import deepcopy
from functools import partial
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
_DOTS_TOKENS = ("<|img|>", "<|imgpad|>", "<|endofimg|>")
_GLM_TOKENS = ("<|begin_of_image|>", "<|image|>", "<|end_of_image|>", "<|video|>", "<|begin_of_box|>", "<|end_of_box|>")
_PADDLE_TOKENS = ("<|IMAGE_START|>", "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_END|>", "<|VIDEO_PLACEHOLDER|>")
_DEEPSEEK_TOKENS = (
    "<image>", "<|pad|>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<|User|>", "<|Assistant|>"
)  # fmt: skip
_QWEN_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def write_smolvlm(folder: Path, words: Path) -> None:
    """A SmolVLM whose language half is a llama's from a folder, its eye random: 16 tokens a picture."""
    tokenizer = _tokenizer(folder, words, _SMOL_TOKENS, "<image>")
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
    _write_json(folder / "processor_config.json", {"image_seq_len": 16, "processor_class": "SmolVLMProcessor"})
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "SmolVLMImageProcessor", "processor_class": "SmolVLMProcessor",
            "do_convert_rgb": True, "do_image_splitting": False, "do_normalize": True, "do_pad": True, "do_rescale": True,
            "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 1 / 255,
            "max_image_size": {"longest_edge": 64}, "size": {"longest_edge": 64}, "resample": 1,
        },
    )  # fmt: skip
    model = _random(config)
    language, _ = load_model(words, lazy=True)
    language = dequantize_model(language)
    language.set_dtype(mx.float32)
    weights = dict(tree_flatten(language.model.parameters()))
    rows = weights["embed_tokens.weight"]
    more = mx.random.normal((len(tokenizer) - rows.shape[0], rows.shape[1])) * 0.02
    weights["embed_tokens.weight"] = mx.concatenate([rows, more])
    weights["lm_head.weight"] = mx.concatenate([rows, mx.zeros_like(more)])
    model.language_model.update(tree_unflatten(list(weights.items())))
    _save(folder, model, config)


def write_qwen2_vl(folder: Path, words: Path) -> None:
    """A small random Qwen2-VL, whose rotary positions have three axes."""
    tokenizer = _tokenizer(folder, words, _QWEN_TOKENS, "<|vision_start|><|image_pad|><|vision_end|>")
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in zip(
        ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"), _QWEN_TOKENS, strict=True)}  # fmt: skip
    text = {
        "model_type": "qwen2_vl", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "vocab_size": len(tokenizer), "rope_theta": 1e6, "tie_word_embeddings": True,
        "max_position_embeddings": 4096, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
    }  # fmt: skip
    vision = {
        "model_type": "qwen2_vl", "depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14,
        "in_channels": 3, "spatial_patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    config = {
        "model_type": "qwen2_vl", **ids, **{name: value for name, value in text.items() if name != "model_type"},
        "text_config": text, "vision_config": vision, "eos_token_id": 2,
    }  # fmt: skip
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor", "merge_size": 2, "patch_size": 14,
            "temporal_patch_size": 2, "min_pixels": 28 * 28, "max_pixels": 28 * 28 * 16,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        },
    )  # fmt: skip
    _save(folder, _random(config), config)


def write_qwen3_vl(folder: Path, words: Path) -> None:
    """A small random Qwen3-VL, whose pictures are added to hidden states of its first layers too."""
    _write_qwen3(folder, words, "qwen3_vl", {"deepstack_visual_indexes": [0, 1]}, {"head_dim": 16, "rope_scaling": _MROPE})


def write_qwen3_5(folder: Path, words: Path) -> None:
    """A small random Qwen3.5, most of whose layers keep a state in place of KV."""
    text = {
        "head_dim": 32, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16,
        "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "full_attention_interval": 2,
        "rope_parameters": {"type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e5, "partial_rotary_factor": 0.25},
    }  # fmt: skip
    _write_qwen3(folder, words, "qwen3_5", {"deepstack_visual_indexes": []}, text)


_MROPE = {"type": "default", "rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True}


def _write_qwen3(folder: Path, words: Path, model_type: str, eye: dict[str, Any], more: dict[str, Any]) -> None:
    tokenizer = _tokenizer(folder, words, _QWEN_TOKENS, "<|vision_start|><|image_pad|><|vision_end|>")
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
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen3VLProcessor", "merge_size": 2, "patch_size": 16,
            "temporal_patch_size": 2, "min_pixels": 32 * 32, "max_pixels": 32 * 32 * 16,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        },
    )  # fmt: skip
    _save(folder, _random(config), config)


def write_dots_ocr(folder: Path, words: Path) -> None:
    """A small random DOTS-OCR."""
    tokenizer = _tokenizer(folder, words, _DOTS_TOKENS, "".join(_DOTS_TOKENS))
    text = {
        "model_type": "dots_ocr", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "vocab_size": len(tokenizer), "rope_theta": 1e6, "max_position_embeddings": 4096,
    }  # fmt: skip
    vision = {
        "model_type": "dots_vit", "embed_dim": 32, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 1,
    }  # fmt: skip
    config = {
        **text, "architectures": ["DotsOCRForCausalLM"], "vision_config": vision, "text_config": text, "eos_token_id": 2,
        "image_token_id": tokenizer.convert_tokens_to_ids("<|imgpad|>"), "video_token_id": len(tokenizer) - 1,
    }  # fmt: skip
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "DotsVLProcessor", "merge_size": 2, "patch_size": 14,
            "temporal_patch_size": 1, "min_pixels": 28 * 28, "max_pixels": 28 * 28 * 16,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        },
    )  # fmt: skip
    _save(folder, _random(config), config)


def write_glm_ocr(folder: Path, words: Path) -> None:
    """A small random GLM-OCR, whose rotary positions have three axes."""
    tokenizer = _tokenizer(folder, words, _GLM_TOKENS, "<|begin_of_image|><|image|><|end_of_image|>")
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in zip(
        ("image_start_token_id", "image_token_id", "image_end_token_id", "video_token_id"), _GLM_TOKENS, strict=False)}  # fmt: skip
    text = {
        "model_type": "glm_ocr_text", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": len(tokenizer), "max_position_embeddings": 4096, "eos_token_id": [2],
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "partial_rotary_factor": 1.0, "rope_theta": 10000},
    }  # fmt: skip
    vision = {
        "model_type": "glm_ocr_vision", "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 14,
        "out_hidden_size": 64, "image_size": 112,
    }  # fmt: skip
    config = {
        "model_type": "glm_ocr", "architectures": ["GlmOcrForConditionalGeneration"], **ids, "vocab_size": len(tokenizer),
        "text_config": text, "vision_config": vision, "eos_token_id": [2],
    }  # fmt: skip
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Glm46VImageProcessor", "processor_class": "Glm46VProcessor", "patch_size": 14, "merge_size": 2,
            "temporal_patch_size": 2, "size": {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16 * 2},
        },
    )  # fmt: skip
    _save(folder, _random(config), config)


def write_paddleocr_vl(folder: Path, words: Path) -> None:
    """A random PaddleOCR-VL as small as its eye allows, which makes 1,024 numbers of a picture's part."""
    tokenizer = _tokenizer(folder, words, _PADDLE_TOKENS, "".join(_PADDLE_TOKENS[:3]))
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in zip(
        ("vision_start_token_id", "image_token_id", "vision_end_token_id", "video_token_id"), _PADDLE_TOKENS, strict=True)}  # fmt: skip
    config = {
        "model_type": "paddleocr_vl", "architectures": ["PaddleOCRVLForConditionalGeneration"], **ids, "hidden_size": 1024,
        "num_hidden_layers": 1, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "rms_norm_eps": 1e-6, "vocab_size": len(tokenizer), "rope_theta": 1e6, "max_position_embeddings": 4096, "hidden_act": "silu",
        "use_bias": False, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0,
        "rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": [2, 3, 3]},
        "vision_config": {
            "model_type": "paddleocr_vl", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
        },
    }  # fmt: skip
    _write_json(
        folder / "preprocessor_config.json",
        {"min_pixels": 28 * 28, "max_pixels": 28 * 28 * 16, "patch_size": 14, "temporal_patch_size": 1, "merge_size": 2},
    )
    _save(folder, _random(config), config)


def write_deepseek_ocr(folder: Path, words: Path, model_type: str = "deepseekocr") -> None:
    """A small random DeepSeek-OCR without a chat template, as it is; its SAM is made small for this process, as no file says its size."""
    from mlx_vlm.models.deepseekocr import config as sizes
    from mlx_vlm.models.deepseekocr import deepseekocr

    deepseekocr.SAMViTConfig = partial(sizes.SAMViTConfig, width=16, layers=1, heads=2, global_attn_indexes=())
    tokenizer = _tokenizer(folder, words, _DEEPSEEK_TOKENS, "<image>")
    tokenizer.chat_template = None
    tokenizer.bos_token = tokenizer.convert_ids_to_tokens(0)  # which the processor takes for granted
    (folder / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(folder)
    text = {
        "model_type": "deepseek_v2", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "moe_intermediate_size": 32,
        "num_attention_heads": 4, "num_key_value_heads": 4, "n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "first_k_dense_replace": 1, "vocab_size": len(tokenizer), "max_position_embeddings": 4096, "qk_nope_head_dim": 0,
        "qk_rope_head_dim": 0, "v_head_dim": 16, "sliding_window_size": 4,
    }  # fmt: skip
    vision = {
        "model_type": "vision", "layers": 1, "hidden_size": 1024, "width": 1024, "intermediate_size": 64, "num_attention_heads": 2,
        "image_size": 224, "patch_size": 14,
    }  # fmt: skip
    config = {
        "model_type": model_type, "architectures": ["DeepseekOCRForCausalLM"], "vocab_size": len(tokenizer), "eos_token_id": 2,
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"), "max_position_embeddings": 4096, "language_config": text,
        "vision_config": vision, "projector_config": {"projector_type": "linear", "input_dim": 2048, "n_embed": 64},
    }  # fmt: skip
    _write_json(
        folder / "processor_config.json",
        {
            "processor_class": "DeepseekOCRProcessor", "candidate_resolutions": [[1024, 1024]], "patch_size": 16, "downsample_ratio": 4,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "normalize": True, "image_token": "<image>",
            "pad_token": "<|pad|>", "ignore_id": -100, "mask_prompt": False, "add_special_token": False, "sft_format": "deepseek",
        },
    )  # fmt: skip
    _save(folder, _random(config), config)


def write_unlimited_ocr(folder: Path, words: Path) -> None:
    """The same as an Unlimited-OCR, whose answers forget their beginning."""
    write_deepseek_ocr(folder, words, "unlimited-ocr")


def _tokenizer(folder: Path, words: Path, more: tuple[str, ...], picture: str) -> Any:
    folder.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(words)
    tokenizer.add_special_tokens({"additional_special_tokens": list(more)})
    tokenizer.chat_template = _TEMPLATE.replace("PICTURE", picture)
    tokenizer.save_pretrained(folder)
    if (words / "generation_config.json").exists():
        shutil.copy(words / "generation_config.json", folder)
    return tokenizer


def _random(config: dict[str, Any]) -> Any:
    mx.random.seed(0)
    architecture, _ = get_model_and_args(config)
    wanted = architecture.ModelConfig.from_dict(deepcopy(config))
    for name, kind in (("text_config", "TextConfig"), ("vision_config", "VisionConfig")):
        if isinstance(given := getattr(wanted, name), dict):
            setattr(wanted, name, getattr(architecture, kind).from_dict(given))
    model = architecture.Model(wanted)
    model.set_dtype(mx.float32)
    return model


def _save(folder: Path, model: Any, config: dict[str, Any]) -> None:
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), metadata={"format": "mlx"})
    _write_json(folder / "config.json", config)


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content))
