"""A model folder with random weights can be loaded, and its answers never end."""

import mlx.core as mx
import pytest
from mlx_lm.utils import load
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from benchmarks.random_model import SHAPES, make_model, silent_tokens

pytestmark = pytest.mark.mlx


def test_it_loads_and_never_picks_a_silent_token(tmp_path):
    source = tmp_path / "tokenizer"
    source.mkdir()
    tokenizer = Tokenizer(WordLevel({"<end>": 0, "\ufffd": 1, **{f"w{token}": token for token in range(2, 64)}}, "<end>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(source / "tokenizer.json"))
    (source / "config.json").write_text('{"eos_token_id": 0}')
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>"}')
    make_model(tmp_path / "random", SHAPES["tiny"], "float32", source)
    model, loaded = load(str(tmp_path / "random"))
    assert silent_tokens(tokenizer) == [0, 1]
    assert loaded.eos_token_ids == {0}
    logits = model(mx.array([[5, *range(63)]]))[0]
    assert logits.shape == (64, 64)
    assert mx.all(logits[:, :2] == 0).item()
    assert mx.all(mx.argmax(logits, axis=-1) > 1).item()
