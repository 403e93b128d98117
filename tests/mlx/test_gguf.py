"""GGUF files of tiny random llamas become model folders that compute and spell what the originals did."""

import json
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.utils import load_model, load_tokenizer
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.trainers import BpeTrainer

from actors.engine.gguf import convert, unpermute, write_model

pytestmark = pytest.mark.mlx

ROOT = Path(__file__).parents[2]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "Hello world, hello!",
    "In 2024 it was 3.14159",
    "naïve 🙂 日本",
    "<|im_start|>user\nhi 42<|im_end|>\n",
    "  two  spaces\n\n",
]
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.layers": "blk",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def permute(rows, heads):
    """The order that GGUF's own converter gives, written out row by row."""
    half = rows.shape[0] // heads // 2
    order = [2 * half * head + half * side + pair for head in range(heads) for pair in range(half) for side in (0, 1)]
    return mx.stack([rows[row] for row in order])


def gguf_tensors(model):
    """A model's weights as a GGUF file holds them."""
    heads = {"attn_q": model.args.num_attention_heads, "attn_k": model.args.num_key_value_heads}
    tensors = {}
    for name, weight in tree_flatten(model.parameters()):
        target = name
        for ours, theirs in GGUF_NAMES.items():
            target = target.replace(ours, theirs)
        module = target.split(".")[-2]
        tensors[target] = permute(weight, heads[module]) if module in heads else weight
    return tensors


def gguf_metadata(tokenizer, **changes):
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    metadata = {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.organization": "Nobody",
        "general.license": "apache-2.0",
        "llama.embedding_length": mx.array(64, mx.uint32),
        "llama.block_count": mx.array(2, mx.uint32),
        "llama.feed_forward_length": mx.array(96, mx.uint32),
        "llama.attention.head_count": mx.array(4, mx.uint32),
        "llama.attention.head_count_kv": mx.array(2, mx.uint32),
        "llama.attention.layer_norm_rms_epsilon": mx.array(1e-5, mx.float32),
        "llama.context_length": mx.array(512, mx.uint32),
        "llama.rope.freq_base": mx.array(100000.0, mx.float32),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": mx.array([3 if token in SPECIAL else 1 for token in tokens], mx.int32),
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
        "tokenizer.ggml.bos_token_id": mx.array(1, mx.uint32),
        "tokenizer.ggml.eos_token_id": mx.array(2, mx.uint32),
        "tokenizer.ggml.padding_token_id": mx.array(2, mx.uint32),
        "tokenizer.ggml.unknown_token_id": mx.array(0, mx.uint32),
        "tokenizer.ggml.add_bos_token": mx.array(False),
        "tokenizer.chat_template": TEMPLATE,
        **changes,
    }
    return {key: value for key, value in metadata.items() if value is not None}


def random_model(tokenizer, *, tied=True):
    mx.random.seed(7)
    model = Model(
        ModelArgs(
            model_type="llama",
            hidden_size=64,
            num_hidden_layers=2,
            intermediate_size=96,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
            vocab_size=tokenizer.get_vocab_size(),
            max_position_embeddings=512,
            rope_theta=100000.0,
            tie_word_embeddings=tied,
        )
    )
    # Wider than the usual start, so that attention and with it the order of q's and k's rows tells.
    model.update({"model": {"layers": [{"self_attn": {"q_proj": {"weight": mx.random.normal((64, 64))}}}] * 2}})
    model.model.norm.weight = mx.random.uniform(0.5, 1.5, (64,))
    mx.eval(model.parameters())
    return model


def ignore(done, total):
    pass


def load(folder):
    model, _ = load_model(folder)
    return model


def logits(model, tokenizer):
    return model(mx.array([tokenizer.encode(" ".join(TEXTS)).ids]))


def same(one, other):
    return mx.array_equal(one, other).item()


@pytest.fixture(scope="module")
def tokenizer():
    """The original tokenizer, trained on a few words."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = PreTokenizers([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = ByteLevelDecoder()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    trainer = BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(["hello world, hello user, it was two naïve spaces in the world"] * 4, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def model(tokenizer):
    return random_model(tokenizer)


@pytest.fixture(scope="module")
def gguf(tokenizer, model, tmp_path_factory):
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    mx.save_gguf(str(file), gguf_tensors(model), gguf_metadata(tokenizer))
    return file


@pytest.fixture(scope="module")
def folder(gguf):
    folder = gguf.parent / "Tiny-Instruct"
    convert(gguf, folder, ignore)
    return folder


def test_a_converted_model_computes_the_originals_logits(folder, model, tokenizer):
    assert same(logits(load(folder), tokenizer), logits(model, tokenizer))


def test_the_order_of_rows_tells_in_this_model(gguf, model, tokenizer):
    tensors, _ = mx.load(str(gguf), return_metadata=True)
    q = model.model.layers[0].self_attn.q_proj
    ours, q.weight = q.weight, tensors["blk.0.attn_q.weight"]
    wrong, q.weight = logits(model, tokenizer), ours
    assert mx.abs(wrong - logits(model, tokenizer)).max().item() > 1e-3


@pytest.mark.parametrize(("heads", "head_dim", "columns"), [(1, 2, 1), (3, 4, 5), (9, 64, 18)])
@pytest.mark.parametrize("dtype", [mx.uint32, mx.float16])
def test_unpermuting_undoes_the_order_of_gguf(heads, head_dim, columns, dtype):
    rows = mx.arange(heads * head_dim * columns).reshape(-1, columns).astype(dtype)
    assert same(unpermute(permute(rows, heads), heads), rows)


def test_unpermuting_by_hand():
    assert unpermute(mx.arange(16).reshape(16, 1), 2).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]


def test_quantized_weights_keep_their_bits_and_their_logits(tmp_path, tokenizer):
    original = random_model(tokenizer)
    nn.quantize(
        original,
        32,
        4,
        class_predicate=lambda path, module: hasattr(module, "to_quantized") and {"bits": bits(path), "group_size": 32},
    )
    write_model(gguf_tensors(original), gguf_metadata(tokenizer), tmp_path / "q", ignore)
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    assert config["quantization"] == {"group_size": 32, "bits": 4, "model.embed_tokens": {"group_size": 32, "bits": 8}}
    assert same(logits(load(tmp_path / "q"), tokenizer), logits(original, tokenizer))


def bits(path):
    return 8 if path == "model.embed_tokens" else 4


def test_an_output_layer_of_its_own_is_kept(tmp_path, tokenizer):
    original = random_model(tokenizer, tied=False)
    write_model(gguf_tensors(original), gguf_metadata(tokenizer), tmp_path / "untied", ignore)
    assert json.loads((tmp_path / "untied" / "config.json").read_text())["tie_word_embeddings"] is False
    assert same(logits(load(tmp_path / "untied"), tokenizer), logits(original, tokenizer))


def test_norms_take_the_type_of_the_rest(tmp_path, tokenizer, model):
    tensors = {name: tensor if "norm" in name else tensor.astype(mx.float16) for name, tensor in gguf_tensors(model).items()}
    write_model(tensors, gguf_metadata(tokenizer), tmp_path / "half", ignore)
    assert {weight.dtype for weight in mx.load(str(tmp_path / "half" / "model.safetensors")).values()} == {mx.float16}
    assert json.loads((tmp_path / "half" / "config.json").read_text())["torch_dtype"] == "float16"


def test_the_configuration_is_that_of_the_file(folder):
    config = json.loads((folder / "config.json").read_text())
    expected = {
        "model_type": "llama",
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
    }
    assert {key: config[key] for key in expected} == expected
    assert "quantization" not in config
    assert json.loads((folder / "generation_config.json").read_text()) == {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }


def test_the_folder_says_where_it_comes_from(folder):
    readme = (folder / "README.md").read_text()
    assert [text for text in ("Tiny-Instruct", "Nobody", "apache-2.0", "GGUF") if text not in readme] == []
    _, metadata = mx.load(str(folder / "model.safetensors"), return_metadata=True)
    assert metadata == {"format": "mlx"}


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_spells_as_the_original(folder, tokenizer, text):
    converted = load_tokenizer(folder)
    ids = converted.encode(text)
    assert ids == tokenizer.encode(text).ids
    assert converted.decode(ids) == text


def test_digits_are_tokens_of_their_own_and_special_tokens_are_whole(folder):
    converted = load_tokenizer(folder)
    assert converted.convert_ids_to_tokens(converted.encode("2024<|im_end|>")) == ["2", "0", "2", "4", "<|im_end|>"]
    assert converted.decode(converted.encode("<|im_start|>hi<|im_end|>"), skip_special_tokens=True) == "hi"


def test_the_tokenizer_knows_its_special_tokens_its_template_and_its_length(folder):
    converted = load_tokenizer(folder)
    assert (converted.bos_token, converted.eos_token, converted.pad_token) == ("<|im_start|>", "<|im_end|>", "<|im_end|>")
    assert (converted.unk_token, converted.model_max_length) == ("<|endoftext|>", 512)
    assert converted.eos_token_ids == {2}
    conversation = [{"role": "user", "content": "hi"}]
    assert converted.apply_chat_template(conversation, tokenize=False) == "<|im_start|>user\nhi<|im_end|>\n"


def test_progress_counts_the_tensors(tmp_path, gguf):
    calls = []
    convert(gguf, tmp_path / "model", lambda done, total: calls.append((done, total)))
    assert calls == [(done, 20) for done in range(1, 21)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"general.architecture": "mamba"}, "architecture 'mamba' is unknown"),
        ({"general.architecture": None}, "architecture 'None' is unknown"),
        ({"llama.rope.scaling.type": "yarn"}, "scaling 'yarn'"),
        ({"llama.expert_count": mx.array(8)}, "experts"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer 'llama'"),
        ({"tokenizer.ggml.pre": "qwen2"}, "pre-tokenizer 'qwen2'"),
        ({"tokenizer.ggml.add_bos_token": mx.array(True)}, "add_bos_token"),
        ({"llama.rope.dimension_count": mx.array(8)}, "a part of each head"),
        ({"tokenizer.ggml.merges": None}, r"no 'tokenizer\.ggml\.merges'"),
        ({"llama.block_count": None}, r"no 'llama\.block_count'"),
        ({"llama.attention.head_count_kv": mx.array([2, 1])}, "has 2 values"),
    ],
)
def test_what_is_unknown_is_named_and_nothing_is_written(tmp_path, tokenizer, model, changes, says):
    with pytest.raises(ValueError, match=says):
        write_model(gguf_tensors(model), gguf_metadata(tokenizer, **changes), tmp_path / "model", ignore)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "name", ["blk.0.attn_q.bias", "blk.0.ffn_gate_inp.weight", "rope_freqs.weight", "blk.0.token_embd.weight"]
)
def test_a_tensor_without_a_place_is_named(tmp_path, tokenizer, model, name):
    tensors = gguf_tensors(model) | {name: mx.zeros((4,))}
    with pytest.raises(ValueError, match=f"'{name}' has no place"):
        write_model(tensors, gguf_metadata(tokenizer), tmp_path / "model", ignore)


def test_a_file_that_is_no_gguf_is_named(tmp_path):
    (tmp_path / "text.gguf").write_text("no model at all")
    with pytest.raises(ValueError, match=r"text\.gguf can't be read as GGUF"):
        convert(tmp_path / "text.gguf", tmp_path / "model", ignore)


def test_a_folder_that_exists_is_kept(folder, gguf):
    before = (folder / "config.json").stat().st_mtime_ns
    with pytest.raises(FileExistsError):
        convert(gguf, folder, ignore)
    assert (folder / "config.json").stat().st_mtime_ns == before


def run(*arguments):
    command = [sys.executable, "-m", "actors.engine.gguf", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_as_a_program_it_prints_progress_for_another_process(tmp_path, gguf):
    done = run(gguf, tmp_path / "model")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"Progress {n} of 20" for n in range(1, 21)]
    assert (tmp_path / "model" / "config.json").is_file()


def test_as_a_program_it_fails_in_one_line(tmp_path):
    (tmp_path / "text.gguf").write_text("no model at all")
    done = run(tmp_path / "text.gguf", tmp_path / "model")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert run().returncode == 2
