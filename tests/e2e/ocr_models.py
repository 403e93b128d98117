"""Models that read pages, of known shapes: small ones that are random altogether."""

from functools import partial
from pathlib import Path

from tests.e2e.vision_models import make_random, make_tokenizer, save, write_json

_DOTS_TOKENS = ("<|img|>", "<|imgpad|>", "<|endofimg|>")
_GLM_TOKENS = ("<|begin_of_image|>", "<|image|>", "<|end_of_image|>", "<|video|>", "<|begin_of_box|>", "<|end_of_box|>")
_PADDLE_TOKENS = ("<|IMAGE_START|>", "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_END|>", "<|VIDEO_PLACEHOLDER|>")
_DEEPSEEK_TOKENS = (
    "<image>", "<|pad|>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<|User|>", "<|Assistant|>"
)  # fmt: skip


def write_dots_ocr(folder: Path, words: Path) -> None:
    """A small random DOTS-OCR."""
    tokenizer = make_tokenizer(folder, words, _DOTS_TOKENS, "".join(_DOTS_TOKENS))
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
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "DotsVLProcessor", "merge_size": 2, "patch_size": 14,
            "temporal_patch_size": 1, "min_pixels": 28 * 28, "max_pixels": 28 * 28 * 16,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        },
    )  # fmt: skip
    save(folder, make_random(config), config)


def write_glm_ocr(folder: Path, words: Path) -> None:
    """A small random GLM-OCR, whose rotary positions have three axes."""
    tokenizer = make_tokenizer(folder, words, _GLM_TOKENS, "<|begin_of_image|><|image|><|end_of_image|>")
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
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Glm46VImageProcessor", "processor_class": "Glm46VProcessor", "patch_size": 14, "merge_size": 2,
            "temporal_patch_size": 2, "size": {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16 * 2},
        },
    )  # fmt: skip
    save(folder, make_random(config), config)


def write_paddleocr_vl(folder: Path, words: Path) -> None:
    """A random PaddleOCR-VL as small as its eye allows, which makes 1,024 numbers of a picture's part."""
    tokenizer = make_tokenizer(folder, words, _PADDLE_TOKENS, "".join(_PADDLE_TOKENS[:3]))
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
    write_json(
        folder / "preprocessor_config.json",
        {"min_pixels": 28 * 28, "max_pixels": 28 * 28 * 16, "patch_size": 14, "temporal_patch_size": 1, "merge_size": 2},
    )
    save(folder, make_random(config), config)


def write_deepseek_ocr(folder: Path, words: Path, model_type: str = "deepseekocr") -> None:
    """A small random DeepSeek-OCR without a chat template, as it is; its SAM is made small for this process, as no file says its size."""
    from mlx_vlm.models.deepseekocr import config as sizes
    from mlx_vlm.models.deepseekocr import deepseekocr

    deepseekocr.SAMViTConfig = partial(sizes.SAMViTConfig, width=16, layers=1, heads=2, global_attn_indexes=())
    tokenizer = make_tokenizer(folder, words, _DEEPSEEK_TOKENS, "<image>")
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
    write_json(
        folder / "processor_config.json",
        {
            "processor_class": "DeepseekOCRProcessor", "candidate_resolutions": [[1024, 1024]], "patch_size": 16, "downsample_ratio": 4,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "normalize": True, "image_token": "<image>",
            "pad_token": "<|pad|>", "ignore_id": -100, "mask_prompt": False, "add_special_token": False, "sft_format": "deepseek",
        },
    )  # fmt: skip
    save(folder, make_random(config), config)


def write_unlimited_ocr(folder: Path, words: Path) -> None:
    """The same as an Unlimited-OCR, whose answers forget their beginning."""
    write_deepseek_ocr(folder, words, "unlimited-ocr")
