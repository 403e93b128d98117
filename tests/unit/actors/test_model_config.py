"""What configurations say is found wherever their families put it."""

import json

import pytest

from actors.catalog.model_config import context_length, generation, kv_bytes_per_token, layer_bits, named_code, quantization


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 32768}}, 32768),
        ({"thinker_config": {"text_config": {"max_position_embeddings": 65536}}}, 65536),
        ({"max_position_embeddings": None, "seq_length": 2048}, 2048),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 8194, "pad_token_id": 1}, 8192),
        ({"max_position_embeddings": True}, None),
        ({"hidden_size": 64}, None),
        ({"text_config": None}, None),
    ],
)
def test_the_context_length_is_found_wherever_it_stands(config, expected):
    assert context_length(json.loads(json.dumps(config))) == expected


LLAMA = {"num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 2048}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA, 2 * 2 * 16 * 8 * 64),
        ({**LLAMA, "head_dim": 128}, 2 * 2 * 16 * 8 * 128),
        ({"text_config": LLAMA, "vision_config": {"num_hidden_layers": 99}}, 2 * 2 * 16 * 8 * 64),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 2 * 2 * 12 * 12 * 64),
        ({"n_layer": 24, "n_head": 16, "n_embd": 2048, "multi_query": True}, 2 * 2 * 24 * 1 * 128),
        ({**LLAMA, "kv_lora_rank": 512, "qk_rope_head_dim": 64}, 2 * 16 * (512 + 64)),  # MLA
        (
            {**LLAMA, "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"]},
            2 * 2 * 8 * 64,
        ),
        ({**LLAMA, "layer_types": ["sliding_attention", "full_attention"]}, 2 * 2 * 2 * 8 * 64),
        ({**LLAMA, "full_attention_interval": 4}, 2 * 2 * 4 * 8 * 64),
        ({**LLAMA, "hybrid_override_pattern": "M-M*-M*"}, 2 * 2 * 2 * 8 * 64),
        ({"num_hidden_layers": 64, "hidden_size": 4096}, 0),  # nothing but recurrent layers
        ({}, 0),
    ],
)
def test_what_a_token_takes_follows_from_the_layers(config, expected):
    assert kv_bytes_per_token(config) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"quantization": {"group_size": 64, "bits": 4}, "quantization_config": {"group_size": 64, "bits": 4}}, "4-bit"),
        ({"quantization": {"group_size": 64, "bits": 8, "mode": "affine"}}, "8-bit"),
        ({"quantization": {"bits": 4, "mode": "mxfp4", "group_size": 32}}, "mxfp4"),
        ({"quantization": {"bits": 4, "group_size": 64, "lm_head": {"bits": 8, "group_size": 64}}}, "4-bit (mixed)"),
        ({"quantization": {"bits": 4, "mode": "mxfp4", "lm_head": {"bits": 8, "mode": "affine"}}}, "mxfp4 (mixed)"),
        ({"quantization": {"bits": 4, "group_size": 64, "lm_head": False, "x": {"bits": 4}}}, "4-bit"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "4-bit (awq)"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"text_config": {"quantization_config": {"quant_method": "mxfp4"}}}, "mxfp4"),
        ({"quantization": None}, None),
        ({}, None),
    ],
)
def test_quantization_has_a_word_for_people(config, expected):
    assert quantization(config) == expected


def test_a_layer_has_its_own_bits_or_the_models():
    config = {"quantization": {"bits": 4, "group_size": 64, "lm_head": {"bits": 8}, "skipped": False}}
    assert [layer_bits(config, each) for each in ("lm_head", "layers.0", "skipped")] == [8, 4, 4]
    assert layer_bits({"quantization_config": {"bits": 4}}, "any") == 4
    assert layer_bits({}, "any") is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [1]},
            {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
        ),
        (
            {"max_new_tokens": 2048, "min_p": 0.05, "repetition_penalty": 1.05},
            {"max_tokens": 2048, "min_p": 0.05, "repetition_penalty": 1.05},
        ),
        ({"do_sample": False, "temperature": 0.7, "top_p": 0.8, "max_new_tokens": 9}, {"temperature": 0.0, "max_tokens": 9}),
        ({"temperature": "0.6", "top_k": 2.5, "top_p": None, "min_p": True, "max_new_tokens": [1]}, {}),
        ({"temperature": float("nan"), "top_p": 1.5, "top_k": -1, "repetition_penalty": 0, "max_new_tokens": 0}, {}),
        ({"eos_token_id": 2, "max_length": 4096}, {}),
    ],
)
def test_a_generation_config_says_how_to_sample(config, expected):
    assert generation(config) == expected


def test_code_that_configurations_name_is_found_in_this_and_other_repositories():
    config = {
        "auto_map": {"AutoConfig": "configuration_x.XConfig", "AutoModel": "org/repo--modeling_x.XModel"},
        "model_file": "mine.py",
    }
    tokenizer = {"auto_map": {"AutoTokenizer": [None, "tokenization_x.XTokenizer"]}}
    assert named_code(config, tokenizer, {"auto_map": "nonsense"}) == {
        "configuration_x.py", "org/repo--modeling_x.py", "tokenization_x.py", "mine.py",
    }  # fmt: skip
