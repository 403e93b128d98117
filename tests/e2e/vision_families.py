"""Small random models of vision families, each with a processor of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.vision_models import (
    MROPE,
    make_random,
    make_tokenizer,
    save,
    write_json,
    write_qwen2,
    write_qwen2_vl,
    write_qwen3,
    write_qwen3_5,
    write_qwen3_vl,
    write_smolvlm,
)

_SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
_EYE = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "num_attention_heads": 2, "num_channels": 3}
_COLOURS = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}
_GLM_TOKENS = ("<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>")
_GEMMA_TOKENS = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
_GEMMA4_TOKENS = {
    "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>", "audio_token": "<|audio|>", "boa_token": "<|audio>",
    "eoa_token": "<audio|>", "video_token": "<|video|>",
}  # fmt: skip


def write_qwen2_5_vl(folder: Path, words: Path) -> None:
    """A Qwen2.5-VL, whose eye looks through windows."""
    eye = {
        "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "num_heads": 2, "window_size": 56,
        "fullatt_block_indexes": [1],
    }  # fmt: skip
    write_qwen2(folder, words, "qwen2_5_vl", eye)


def write_qwen3_vl_moe(folder: Path, words: Path) -> None:
    """A Qwen3-VL with experts."""
    text = {"head_dim": 16, "rope_scaling": MROPE, **_EXPERTS, "decoder_sparse_step": 1, "mlp_only_layers": []}
    write_qwen3(folder, words, "qwen3_vl_moe", {"deepstack_visual_indexes": [0, 1]}, text)


def write_qwen3_5_moe(folder: Path, words: Path) -> None:
    """A Qwen3.5 with experts."""
    text = {
        "head_dim": 32, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16,
        "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "full_attention_interval": 2,
        "rope_parameters": {"type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e5, "partial_rotary_factor": 0.25},
        **_EXPERTS, "shared_expert_intermediate_size": 32,
    }  # fmt: skip
    write_qwen3(folder, words, "qwen3_5_moe", {"deepstack_visual_indexes": []}, text)


def write_gemma3(folder: Path, words: Path) -> None:
    """A Gemma 3, half of whose layers look through a window shorter than a prompt."""
    tokenizer = make_tokenizer(folder, words, tuple(_GEMMA_TOKENS.values()), "<start_of_image>", _GEMMA_TOKENS)
    config = _config(tokenizer, "gemma3", "<image_soft_token>", {
        **_SIZES, "model_type": "gemma3_text", "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 24,
        "sliding_window_pattern": 2, "mm_tokens_per_image": 16,
    }, {**_EYE, "model_type": "siglip_vision_model", "patch_size": 8, "image_size": 64})  # fmt: skip
    config |= {"hidden_size": 64, "pad_token_id": 0}
    _images(
        folder,
        "Gemma3",
        "Gemma3ImageProcessor",
        {"size": {"height": 64, "width": 64}, "do_resize": True},
        {"image_seq_length": 16},
    )
    save(folder, make_random(config), config)


def write_gemma4(folder: Path, words: Path, **text: Any) -> None:
    """A Gemma 4 of the small kinds: an input of each layer looked up for each token, KV shared by layers, windows."""
    tokenizer = make_tokenizer(folder, words, tuple(_GEMMA4_TOKENS.values()), "<|image|>", _GEMMA4_TOKENS)
    config = _config(tokenizer, "gemma4", "<|image|>", {
        **_SIZES, "num_hidden_layers": 4, "model_type": "gemma4_text", "head_dim": 16, "global_head_dim": 32, "sliding_window": 24,
        "sliding_window_pattern": 2, "num_kv_shared_layers": 2, "vocab_size_per_layer_input": len(tokenizer),
        "hidden_size_per_layer_input": 8, **text,
    }, {**_EYE, "model_type": "gemma4_vision", "num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 16, "patch_size": 8,
        "default_output_length": 16, "position_embedding_size": 64})  # fmt: skip
    config |= {"hidden_size": 64, "pad_token_id": 0, "audio_config": None, "vision_soft_tokens_per_image": 16}
    config |= {
        "audio_token_id": tokenizer.convert_tokens_to_ids("<|audio|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video|>"),
    }
    _images(folder, "Gemma4", "Gemma4ImageProcessor", {}, {
        "image_processor": {"patch_size": 8, "max_soft_tokens": 70, "pooling_kernel_size": 3},
    })  # fmt: skip
    save(folder, make_random(config), config)


def write_gemma4_both_ways(folder: Path, words: Path) -> None:
    """A Gemma 4 of the large kinds: the tokens of a picture see each other in both directions."""
    write_gemma4(folder, words, use_bidirectional_attention="vision", hidden_size_per_layer_input=0, num_kv_shared_layers=0)


def write_llava(folder: Path, words: Path) -> None:
    """A LLaVA 1.5."""
    tokenizer = make_tokenizer(folder, words, ("<image>",), "<image>\n")
    config = _config(tokenizer, "llava", "<image>", {**_SIZES, "model_type": "llama"}, {
        **_EYE, "model_type": "clip_vision_model", "patch_size": 14, "image_size": 56, "projection_dim": 32})  # fmt: skip
    _images(folder, "Llava", "CLIPImageProcessor", {
        "size": {"height": 56, "width": 56}, "crop_size": {"height": 56, "width": 56}, "do_resize": True, "do_center_crop": True,
    }, {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1})  # fmt: skip
    save(folder, make_random(config), config)


def write_pixtral(folder: Path, words: Path) -> None:
    """A Pixtral, with a token at the end of each row of a picture."""
    _write_pixtral(folder, words, "pixtral", 1)


def write_mistral3(folder: Path, words: Path) -> None:
    """A Mistral Small 3.1, which merges a picture's patches."""
    _write_pixtral(folder, words, "mistral3", 2)


def _write_pixtral(folder: Path, words: Path, model_type: str, merge: int) -> None:
    tokenizer = make_tokenizer(folder, words, ("[IMG]", "[IMG_BREAK]", "[IMG_END]"), "[IMG]")
    config = _config(tokenizer, model_type, "[IMG]", {
        **_SIZES, "model_type": "mistral", "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
    }, {**_EYE, "model_type": "pixtral", "head_dim": 16, "patch_size": 14, "image_size": 112})  # fmt: skip
    config |= {"spatial_merge_size": merge, "vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    _images(folder, "Pixtral", "PixtralImageProcessor", {
        "size": {"longest_edge": 112}, "patch_size": {"height": 14 * merge, "width": 14 * merge}, "do_resize": True,
        "do_convert_rgb": True,
    }, {"patch_size": 14, "spatial_merge_size": merge})  # fmt: skip
    save(folder, make_random(config), config)


def write_glm4v(folder: Path, words: Path) -> None:
    """A GLM-4.1V, whose rotary positions have three axes."""
    _write_glm4v(folder, words, "glm4v", {"rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2]}})


def write_glm4v_moe(folder: Path, words: Path) -> None:
    """A GLM-4.5V, with experts."""
    _write_glm4v(folder, words, "glm4v_moe", {
        "moe_intermediate_size": 32, "norm_topk_prob": True, "n_group": 1, "head_dim": 16, "topk_group": 1, "n_shared_experts": 1,
        "n_routed_experts": 4, "routed_scaling_factor": 1.0, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
        "use_qk_norm": True, "tie_word_embeddings": False, "rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]},
    })  # fmt: skip


def _write_glm4v(folder: Path, words: Path, model_type: str, text: dict[str, Any]) -> None:
    tokenizer = make_tokenizer(folder, words, _GLM_TOKENS, "<|begin_of_image|><|image|><|end_of_image|>")
    config = _config(tokenizer, model_type, "<|image|>", {
        **_SIZES, "model_type": f"{model_type}_text", "rms_norm_eps": 1e-5, "rope_theta": 1e4, "attention_bias": True,
        "partial_rotary_factor": 0.5, "eos_token_id": [2], **text,
    }, {
        "model_type": model_type, "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 14,
        "image_size": 112, "out_hidden_size": 64,
    })  # fmt: skip
    names = ("video_token_id", "vision_start_token_id", "vision_end_token_id")
    config |= dict(zip(names, tokenizer.convert_tokens_to_ids(_GLM_TOKENS[1:]), strict=True)) | {"hidden_size": 64}
    config["video_token_index"] = config["video_token_id"]
    _images(folder, "Glm46V", "Qwen2VLImageProcessor", {
        "merge_size": 2, "patch_size": 14, "temporal_patch_size": 2, "min_pixels": 28 * 28, "max_pixels": 28 * 28 * 16,
    }, {})  # fmt: skip
    save(folder, make_random(config), config)


def write_internvl_chat(folder: Path, words: Path) -> None:
    """An InternVL 2 or 3, whose placeholder is a plain text."""
    tokenizer = make_tokenizer(folder, words, ("<img>", "</img>", "<IMG_CONTEXT>"), "<image>\n")
    config = _config(tokenizer, "internvl_chat", "<IMG_CONTEXT>", {**_SIZES, "model_type": "qwen2", "rms_norm_eps": 1e-6}, {
        **_EYE, "model_type": "intern_vit_6b", "patch_size": 14, "image_size": 56})  # fmt: skip
    config |= {"max_dynamic_patch": 2, "downsample_ratio": 0.5}
    _images(folder, "InternVLChat", "InternVLImageProcessor", {}, {})
    save(folder, make_random(config), config)


def write_lfm2_vl(folder: Path, words: Path) -> None:
    """An LFM2-VL, some of whose layers are convolutions."""
    tokens = ("<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>")
    names = dict(zip(("image_token", "image_start_token", "image_end_token", "image_thumbnail"), tokens, strict=True))
    tokenizer = make_tokenizer(folder, words, tokens, "<image>", names)
    config = _config(tokenizer, "lfm2-vl", "<image>", {
        **_SIZES, "model_type": "lfm2", "block_dim": 64, "conv_dim": 64, "conv_dim_out": 64, "block_ff_dim": 128, "num_heads": 4,
        "block_multiple_of": 32, "layer_types": ["conv", "full_attention"],
    }, {**_EYE, "model_type": "siglip2_vision_model", "patch_size": 8, "image_size": 64, "num_patches": 64})  # fmt: skip
    config |= {"downsample_factor": 2, "encoder_patch_size": 8, "do_image_splitting": False, "projector_hidden_size": 64}
    config |= {"max_image_tokens": 16, "min_image_tokens": 4, "max_num_patches": 64, "tile_size": 64}
    _images(folder, "Lfm2Vl", "Lfm2VlImageProcessor", {
        "downsample_factor": 2, "do_image_splitting": False, "encoder_patch_size": 8, "max_image_tokens": 16, "min_image_tokens": 4,
        "max_num_patches": 64, "tile_size": 64,
    }, {})  # fmt: skip
    save(folder, make_random(config), config)


def write_kimi_vl(folder: Path, words: Path) -> None:
    """A Kimi-VL, with latent attention and experts."""
    tokens = ("<|media_start|>", "<|media_content|>", "<|media_pad|>", "<|media_end|>")
    tokenizer = make_tokenizer(folder, words, tokens, "<|media_start|>image<|media_content|><|media_pad|><|media_end|>")
    config = _config(tokenizer, "kimi_vl", "<|media_pad|>", {
        **_SIZES, "model_type": "deepseek_v3", "num_key_value_heads": 4, "moe_intermediate_size": 32, "n_shared_experts": 1,
        "n_routed_experts": 4, "kv_lora_rank": 16, "q_lora_rank": None, "qk_rope_head_dim": 8, "v_head_dim": 16,
        "qk_nope_head_dim": 16, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
    }, {
        "model_type": "moonvit", "depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64,
        "patch_size": 14, "init_pos_emb_height": 8, "init_pos_emb_width": 8,
    })  # fmt: skip
    config["media_placeholder_token_id"] = config["image_token_id"]
    _images(folder, "KimiVL", "KimiVLImageProcessor", {"patch_size": 14, "in_token_limit": 64}, {})
    save(folder, make_random(config), config)


def write_llava_next(folder: Path, words: Path) -> None:
    """A LLaVA-NeXT."""
    tokenizer = make_tokenizer(folder, words, ("<image>",), "<image>\n")
    config = _config(tokenizer, "llava_next", "<image>", {**_SIZES, "model_type": "llama"}, {
        **_EYE, "model_type": "clip_vision_model", "patch_size": 14, "image_size": 56, "projection_dim": 32})  # fmt: skip
    _images(folder, "LlavaNext", "LlavaNextImageProcessor", {
        "size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}, "image_grid_pinpoints": [[56, 112], [112, 56]],
        "do_resize": True, "do_center_crop": True,
    }, {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1})  # fmt: skip
    save(folder, make_random(config), config)


def write_llava_onevision(folder: Path, words: Path) -> None:
    """A LLaVA-OneVision, which cuts a picture into tiles."""
    names = {"image_token": "<image>", "video_token": "<video>"}
    tokenizer = make_tokenizer(folder, words, tuple(names.values()), "<image>\n", names)
    tiles = {"image_grid_pinpoints": [[56, 112], [112, 56], [112, 112]]}
    config = _config(tokenizer, "llava_onevision", "<image>", {**_SIZES, "model_type": "qwen2"}, {
        **_EYE, "model_type": "siglip_vision_model", "patch_size": 14, "image_size": 56})  # fmt: skip
    config |= {**tiles, "video_token_index": tokenizer.convert_tokens_to_ids("<video>")}
    _images(folder, "LlavaOnevision", "LlavaOnevisionImageProcessor", {
        "size": {"height": 56, "width": 56}, "do_resize": True, **tiles,
    }, {"num_image_tokens": 16, "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9"})  # fmt: skip
    save(folder, make_random(config), config)


def write_internvl(folder: Path, words: Path) -> None:
    """An InternVL 3.5 as transformers has it."""
    tokens = ("<img>", "</img>", "<IMG_CONTEXT>")
    names = dict(zip(("start_image_token", "end_image_token", "context_image_token"), tokens, strict=True))
    tokenizer = make_tokenizer(folder, words, tokens, "<IMG_CONTEXT>\n", names)
    config = _config(tokenizer, "internvl", "<IMG_CONTEXT>", {
        **_SIZES, "model_type": "qwen3", "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": False,
    }, {**_EYE, "model_type": "internvl_vision", "patch_size": [14, 14], "image_size": [56, 56]})  # fmt: skip
    config["downsample_ratio"] = 0.5
    _images(folder, "InternVL", "GotOcr2ImageProcessor", {
        "size": {"height": 56, "width": 56}, "crop_to_patches": True, "max_patches": 2, "min_patches": 1,
    }, {"image_seq_length": 4})  # fmt: skip
    save(folder, make_random(config), config)


def write_idefics2(folder: Path, words: Path) -> None:
    """An Idefics2."""
    tokenizer = make_tokenizer(folder, words, ("<fake_token_around_image>", "<image>", "<end_of_utterance>"), "<image>")
    config = _config(tokenizer, "idefics2", "<image>", {**_SIZES, "model_type": "mistral"}, {
        **_EYE, "model_type": "idefics2", "patch_size": 14, "image_size": 56, "num_key_value_heads": 2})  # fmt: skip
    config["perceiver_config"] = {
        "model_type": "idefics2Perceiver", "resampler_depth": 1, "resampler_head_dim": 16, "resampler_n_heads": 4,
        "resampler_n_latents": 8, "num_key_value_heads": 2,
    }  # fmt: skip
    _images(folder, "Idefics2", "Idefics2ImageProcessor", {
        "size": {"longest_edge": 56, "shortest_edge": 28}, "do_image_splitting": False, "do_resize": True, "do_pad": True,
        "do_convert_rgb": True,
    }, {"image_seq_len": 8})  # fmt: skip
    save(folder, make_random(config), config)


def write_paligemma(folder: Path, words: Path) -> None:
    """A PaliGemma, whose prompts see all of themselves."""
    tokenizer = make_tokenizer(folder, words, ("<image>",), "<image>", {"image_token": "<image>"})
    config = _config(tokenizer, "paligemma", "<image>", {**_SIZES, "model_type": "gemma", "head_dim": 16}, {
        **_EYE, "model_type": "siglip_vision_model", "patch_size": 14, "image_size": 56, "projection_dim": 64})  # fmt: skip
    config |= {"hidden_size": 64, "pad_token_id": 0}
    _images(folder, "PaliGemma", "SiglipImageProcessor", {"size": {"height": 56, "width": 56}, "image_seq_length": 16}, {})
    save(folder, make_random(config), config)


def _config(tokenizer: Any, model_type: str, picture: str, text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    known = {"vocab_size": len(tokenizer), "max_position_embeddings": 4096}
    picture_id = tokenizer.convert_tokens_to_ids(picture)
    return {
        "model_type": model_type, "image_token_id": picture_id, "image_token_index": picture_id, "eos_token_id": 2,
        "vocab_size": len(tokenizer), "text_config": known | text, "vision_config": vision,
    }  # fmt: skip


def _images(folder: Path, family: str, kind: str, images: dict[str, Any], more: dict[str, Any]) -> None:
    """The files that a processor is made of."""
    write_json(folder / "processor_config.json", {"processor_class": f"{family}Processor", **more})
    write_json(
        folder / "preprocessor_config.json",
        {"image_processor_type": kind, "processor_class": f"{family}Processor", **_COLOURS, **images},
    )


FIRST: dict[str, Callable[[Path, Path], None]] = {
    "smolvlm": write_smolvlm,
    "qwen2_vl": write_qwen2_vl,
    "qwen3_vl": write_qwen3_vl,
    "qwen3_5": write_qwen3_5,
    "gemma3": write_gemma3,
    "gemma4": write_gemma4,
}
WRITERS = FIRST | {
    "qwen2_5_vl": write_qwen2_5_vl,
    "qwen3_vl_moe": write_qwen3_vl_moe,
    "qwen3_5_moe": write_qwen3_5_moe,
    "llava": write_llava,
    "pixtral": write_pixtral,
    "mistral3": write_mistral3,
    "glm4v": write_glm4v,
    "glm4v_moe": write_glm4v_moe,
    "llava_onevision": write_llava_onevision,
    "internvl": write_internvl,
    "internvl_chat": write_internvl_chat,
    "kimi_vl": write_kimi_vl,
    "lfm2_vl": write_lfm2_vl,
}
REFUSED: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "gemma4": (write_gemma4_both_ways, "mlx-vlm gives other logits"),
    "llava_next": (write_llava_next, "other places in a prompt than its tokens"),
    "idefics2": (write_idefics2, "its processor has other tokens"),
    "paligemma": (write_paligemma, "its processor has other tokens"),
}
