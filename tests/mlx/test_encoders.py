"""A forward gives each row what it would get alone, whatever is padded; vectors are cut and are of length one again."""

import importlib

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from actors.contracts import EmbedJob, TextPrompt
from actors.engine.embedding_rules import EmbeddingRules
from actors.engine.encoder_backend import Row
from actors.engine.encoders import Embedder, PairClassifier, YesOrNo, padded
from actors.errors import InvalidJobError
from tests.mlx.tiny import tiny_model

CONFIG = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
ROWS = [Row([5, 6, 7]), Row(list(range(20, 60))), Row([9]), Row([5, 6, 7, 8, 9, 10, 11, 12])]


def tiny_encoder(family, class_name="Model", **config):
    module = importlib.import_module(f"mlx_vlm.models.{family}")
    mx.random.seed(0)
    network = getattr(module, class_name)(module.ModelConfig.from_dict({**CONFIG, "model_type": family, **config}))
    network.update(nn.utils.tree_map(lambda weight: mx.random.normal(weight.shape) * 0.3, network.parameters()))
    network.eval()
    return network


def embedder(family, rules=None, pooling=None):
    network = tiny_encoder(family)
    network.pooling_config = pooling
    return Embedder(network, lambda job, start, stop: ROWS[start:stop], rules or EmbeddingRules(), 0)


def numbers(rows):
    return [np.frombuffer(row, "<f4") for row in rows]


def test_padding_goes_to_the_right():
    tokens, mask = padded([[5], [6, 7, 8], [9, 9]], 3)
    assert tokens.tolist() == [[5, 3, 3], [6, 7, 8], [9, 9, 3]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken", None])
@pytest.mark.parametrize("family", ["bert", "xlm_roberta", "modernbert", "qwen3_embedding"])
def test_a_vector_is_the_same_alone_and_in_company(family, pooling):
    encoder = embedder(family, pooling=pooling and {"pooling_mode": pooling})
    together = numbers(encoder.encode(ROWS))
    for row, vector in zip(ROWS, together, strict=True):
        assert np.abs(vector - numbers(encoder.encode([row]))[0]).max() < 1e-5
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("family", ["bert", "xlm_roberta", "modernbert"])
def test_a_score_is_the_same_alone_and_in_company(family):
    rows = [Row(row.tokens, [int(n > 2) for n in range(len(row.tokens))]) for row in ROWS] if family == "bert" else ROWS
    classifier = PairClassifier(tiny_encoder(family, "SequenceClassificationModel"), None, 0)
    together = numbers(classifier.encode(rows))
    assert [len(score) for score in together] == [1] * len(rows)
    for row, score in zip(rows, together, strict=True):
        assert 0 <= score[0] <= 1
        assert np.abs(score - numbers(classifier.encode([row]))[0]).max() < 1e-5


def test_segments_count():
    classifier = PairClassifier(tiny_encoder("bert", "SequenceClassificationModel"), None, 0)
    (first,), (second,) = numbers(classifier.encode([Row([5, 6, 7], [0, 0, 0]), Row([5, 6, 7], [0, 1, 1])]))
    assert first != second


def test_a_yes_is_weighed_against_a_no_at_each_rows_last_token():
    network = tiny_model("llama")
    encoder = YesOrNo(network, None, yes=11, no=12)
    for row, (score,) in zip(ROWS, numbers(encoder.encode(ROWS)), strict=True):
        logits = np.array(network(mx.array([row.tokens]))[0, -1].astype(mx.float32))
        assert score == pytest.approx(1 / (1 + np.exp(logits[12] - logits[11])), abs=1e-5)


def test_a_vector_is_cut_and_has_length_one_again():
    encoder = embedder("bert", EmbeddingRules(shortened=True))
    whole, cut = numbers(encoder.encode([Row([5, 6, 7]), Row([5, 6, 7], dimensions=8)]))
    assert (len(whole), len(cut)) == (32, 8)
    assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-5)
    assert cut == pytest.approx(whole[:8] / np.linalg.norm(whole[:8]), abs=1e-5)


def test_dimensions_that_a_model_has_not_are_refused_as_it_is_read():
    job = EmbedJob("a", (TextPrompt("a"),), dimensions=8)
    with pytest.raises(InvalidJobError, match="this model's vectors have 32"):
        embedder("bert").read(job, 0, 1)
    assert embedder("bert", EmbeddingRules(shortened=True)).read(job, 0, 1) == ROWS[:1]


def test_a_model_that_gives_a_vector_for_each_token_is_none_of_ours():
    class TokenWise:
        def __call__(self, tokens, attention_mask):
            return type("Output", (), {"text_embeds": mx.zeros((*tokens.shape, 8))})

    with pytest.raises(ValueError, match="no vector for a text"):
        Embedder(TokenWise(), None, EmbeddingRules(), 0)
