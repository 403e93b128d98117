"""What an embedding model's files say of its use, and what is refused because they say so."""

import json

import pytest

from actors.engine.embedding_rules import EmbeddingRules, longest_text, read_rules
from actors.errors import InvalidJobError


@pytest.fixture
def folder(tmp_path):
    """Makes a model's folder of JSON files, by their paths in it."""

    def make(name="model", files=(), **config):
        made = tmp_path / name
        for path, content in {"config.json": {"model_type": "bert", **config}, **dict(files)}.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(content if isinstance(content, str) else json.dumps(content))
        return made

    return make


def modules(*kinds):
    return [{"type": f"sentence_transformers.models.{kind}", "path": f"{n}_{kind}" if n else ""} for n, kind in enumerate(kinds)]


CLS = {"pooling_mode_cls_token": True}


@pytest.mark.parametrize(
    ("made", "pooling"),
    [
        ({"files": {"1_Pooling/config.json": CLS}}, CLS),
        ({"files": {"modules.json": modules("Transformer", "Normalize", "Pooling"), "2_Pooling/config.json": CLS}}, CLS),
        ({"files": {"modules.json": modules("Transformer", "Pooling")}}, None),  # the file is missing
        ({"name": "bge-small-en-v1.5-4bit"}, {"pooling_mode": "cls"}),
        ({"name": "bge-small", "files": {"1_Pooling/config.json": {"pooling_mode": "mean"}}}, {"pooling_mode": "mean"}),
        ({"model_type": "modernbert", "classifier_pooling": "mean"}, {"pooling_mode": "mean"}),
        ({"model_type": "modernbert", "classifier_pooling": "attention"}, None),
        ({}, None),  # mlx-vlm knows what the family does
    ],
)
def test_pooling_is_what_the_files_say_or_else_the_name(folder, made, pooling):
    assert read_rules(folder(**made)).pooling == pooling


def test_a_path_that_leads_out_of_the_folder_is_not_followed(folder):
    outside = {"modules.json": [{"type": "a.Pooling", "path": "../elsewhere"}], "../elsewhere/config.json": CLS}
    assert read_rules(folder(files=outside)).pooling is None


@pytest.mark.parametrize("kind", ["Dense", "LayerNorm", "WordEmbeddings", "CNN"])
def test_a_chain_that_mlx_vlm_doesnt_do_is_no_model_of_ours(folder, kind):
    with pytest.raises(ValueError, match=kind):
        read_rules(folder(files={"modules.json": modules("Transformer", "Pooling", kind)}))


def test_families_whose_package_has_dense_layers_may_ask_for_them(folder):
    files = {"modules.json": modules("Transformer", "Pooling", "Dense", "Dense", "Normalize")}
    assert read_rules(folder(files=files, model_type="gemma3_text")).pooling is None


@pytest.mark.parametrize(
    ("ours", "prefix"),
    [
        ({"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "passage"}, "passage: "),
        ({"prompts": {"query": "query: "}, "default_prompt_name": None}, ""),
        ({"prompts": {"query": "query: "}}, ""),
        ({"prompts": {"query": "query: "}, "default_prompt_name": "other"}, ""),
        ({}, ""),
    ],
)
def test_a_prompt_is_put_before_texts_only_where_it_is_the_default(folder, ours, prefix):
    assert read_rules(folder(files={"config_sentence_transformers.json": ours})).prefix == prefix


def test_lengths_come_from_wherever_one_is_told(folder):
    assert read_rules(folder(files={"sentence_bert_config.json": {"max_seq_length": 256}})).longest == 256
    assert read_rules(folder(files={"sentence_bert_config.json": {"max_seq_length": None}})).longest is None
    assert longest_text(512, int(1e30), None, 256) == 256
    assert longest_text(None, int(1e30)) is None


@pytest.mark.parametrize(
    "made",
    [
        {"matryoshka_dimensions": [64, 128]},
        {"files": {"config_sentence_transformers.json": {"truncate_dim": 128}}},
        {"files": {"README.md": "---\ntags:\n- loss:MatryoshkaLoss\n---\n"}},
        {"model_type": "qwen3"},
        {"name": "nomic-embed-text-v1.5"},
    ],
)
def test_models_that_were_trained_for_shorter_vectors_are_known(folder, made):
    assert read_rules(folder(**made)).shortened
    assert not read_rules(folder("plain")).shortened


@pytest.mark.parametrize(
    ("rules", "dimensions", "message"),
    [
        (EmbeddingRules(), 128, "was not trained"),
        (EmbeddingRules(shortened=True), 0, "not between 1 and this model's 384"),
        (EmbeddingRules(shortened=True), 385, "not between"),
        (EmbeddingRules(shortened=True, lengths=(64, 128)), 100, "may have 64, 128, 384"),
    ],
)
def test_lengths_of_vectors_that_a_model_has_not_are_refused(rules, dimensions, message):
    with pytest.raises(InvalidJobError, match=message) as caught:
        rules.check(dimensions, 384)
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize("dimensions", [None, 384, 128])
def test_lengths_of_vectors_that_a_model_has_are_fine(dimensions):
    EmbeddingRules(shortened=True, lengths=(128,)).check(dimensions, 384)
    if dimensions != 128:
        EmbeddingRules().check(dimensions, 384)
