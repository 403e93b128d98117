"""Tiny random models of every kind of cache, from mlx-lm's own classes, in float32."""

import importlib

import mlx.core as mx
from mlx.utils import tree_map_with_path

VOCABULARY = 97

_COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "head_dim": 8,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "max_position_embeddings": 512,
}

CONFIGS = {
    "llama": _COMMON,
    "sliding": _COMMON
    | {
        "model_type": "llama",
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window": 8,
    },
    "hybrid": _COMMON
    | {
        "model_type": "lfm2",
        "norm_eps": 1e-5,
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": 32,
        "block_ff_dim": 64,
        "block_multiple_of": 8,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "full_attn_idxs": [1, 3],
    },
    "moe": _COMMON
    | {
        "model_type": "qwen3_moe",
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 16,
        "norm_topk_prob": True,
    },
    "parallel": _COMMON
    | {
        "model_type": "falcon_h1",
        "num_hidden_layers": 2,
        "mamba_d_ssm": 32,
        "mamba_n_heads": 4,
        "mamba_d_head": 8,
        "mamba_d_state": 8,
    },
    "listed": _COMMON
    | {
        "model_type": "baichuan_m1",
        "sliding_window": 8,
        "sliding_window_layers": [1, 3],
        "conv_window": 2,
        "tie_word_embeddings": False,
    },
    "latent": _COMMON
    | {
        "model_type": "deepseek_v32",
        "num_hidden_layers": 2,
        "num_key_value_heads": 4,
        "index_head_dim": 8,
        "index_n_heads": 2,
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
        "qk_nope_head_dim": 8,
        "n_routed_experts": None,
    },
}


def tiny_model(kind: str, seed: int = 0):
    """A model of one kind, `CONFIGS`' key, with weights large enough that its answers differ from prompt to prompt."""
    config = {"model_type": "llama"} | CONFIGS[kind]
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    mx.random.seed(seed)
    model = module.Model(module.ModelArgs.from_dict(config))

    def scaled(path, weight):
        return weight if path.endswith("norm.weight") else mx.random.normal(weight.shape) * 0.3

    model.update(tree_map_with_path(scaled, model.parameters()))
    model.eval()
    mx.eval(model.parameters())
    return model
