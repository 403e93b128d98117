"""What sentence-transformers and transformers compute; run by a Python that has them, which the project's own needn't.

python reference_embeddings.py embed FOLDER    texts as a JSON list on standard input; their vectors on standard output
python reference_embeddings.py make FOLDER     texts and pairs likewise; makes tiny random models there, and gives what they compute
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4}
CONTEXT = 256  # of the tiny language model
WIDE = 0.25  # of random weights: with the usual 0.02, all scores would be alike
JUDGE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
ANSWER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


def embed(folder, texts):
    """Vectors as sentence-transformers makes them, each text alone."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(texts, batch_size=1).tolist()


def make(folder, given):
    """Tiny models of three families, and the scores and vectors that they give."""
    torch.manual_seed(0)
    texts, pairs = given["texts"], given["pairs"]
    corpus = [
        *texts,
        *(part for pair in pairs for part in pair),
        JUDGE,
        ANSWER,
        INSTRUCTION,
        "<Instruct> : <Query> <Document> yes no",
    ]
    return {
        "XLM-R": scores(*xlm_roberta(folder / "tiny-xlmr-reranker", corpus), pairs),
        "ModernBERT": scores(*modernbert(folder / "tiny-modernbert-reranker", corpus), pairs),
        **qwen3(folder, corpus, texts, pairs),
    }


def xlm_roberta(folder, corpus):
    tokenizer = tokenizer_of(
        corpus, ["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>", "<s> $A </s> </s> $B </s>", unk="<unk>", pad="<pad>"
    )
    config = XLMRobertaConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=130, type_vocab_size=1, num_labels=1, initializer_range=WIDE
    )
    return saved(XLMRobertaForSequenceClassification(config), tokenizer, folder)


def modernbert(folder, corpus):
    tokenizer = tokenizer_of(corpus, ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")
    config = ModernBertConfig(
        **SIZES,
        vocab_size=len(tokenizer),
        max_position_embeddings=128,
        local_attention=16,
        num_labels=1,
        classifier_pooling="mean",
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        initializer_range=WIDE,
        initializer_cutoff_factor=2.0,
        attn_implementation="eager",
    )
    return saved(ModernBertForSequenceClassification(config), tokenizer, folder)


def qwen3(folder, corpus, texts, pairs):
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "[UNK]"]
    plain = tokenizer_of(corpus, special, None, None, pad="<|endoftext|>")
    config = Qwen3Config(
        **SIZES,
        vocab_size=len(plain),
        max_position_embeddings=CONTEXT,
        num_key_value_heads=2,
        head_dim=16,
        initializer_range=WIDE,
    )
    model, _ = saved(Qwen3ForCausalLM(config).float(), plain, folder / "tiny-qwen3-reranker")
    (yes,), (no,) = (plain.encode(word, add_special_tokens=False) for word in ("yes", "no"))
    judged = []
    for query, document in pairs:
        asked = f"<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {document}"
        before, body, after = (plain.encode(part, add_special_tokens=False) for part in (JUDGE, asked, ANSWER))
        tokens = [*before, *body[: CONTEXT - len(before) - len(after)], *after]
        logits = model(torch.tensor([tokens])).logits[0, -1]
        judged.append(torch.softmax(logits[[no, yes]], 0)[1].item())
    ending = tokenizer_of(corpus, special, "$A <|endoftext|>", "$A $B <|endoftext|>", pad="<|endoftext|>")
    saved(model, ending, folder / "tiny-qwen3-embedding")
    vectors = []
    for text in texts:
        states = model.model(torch.tensor([ending.encode(text)])).last_hidden_state
        vectors.append(torch.nn.functional.normalize(states[0, -1], dim=0).tolist())
    return {"Qwen3": judged, "Qwen3 vectors": vectors}


def tokenizer_of(corpus, special, single, pair, *, unk="[UNK]", pad="[PAD]"):
    """A token a word, of the corpus' own words."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=unk))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(corpus, trainers.WordLevelTrainer(special_tokens=special))
    if single is not None:
        numbers = [(name, tokenizer.token_to_id(name)) for name in special]
        tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=numbers)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unk, pad_token=pad)


def saved(model, tokenizer, folder):
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # As published models have it: a newer transformers nests it.
    file = folder / "config.json"
    config = json.loads(file.read_text())
    nested = config.get("rope_parameters") or {}
    if "rope_theta" in nested:
        file.write_text(json.dumps(config | {"rope_theta": nested["rope_theta"]}))
    return model, tokenizer


def scores(model, tokenizer, pairs):
    """The sigmoid of each pair's logit, each computed alone."""
    rows = [tokenizer(*pair, return_tensors="pt", return_token_type_ids=False, truncation=True, max_length=128) for pair in pairs]
    return [torch.sigmoid(model(**row).logits[0, 0]).item() for row in rows]


if __name__ == "__main__":
    torch.set_num_threads(1)  # models this small gain nothing from more, and others want the cores
    with torch.inference_mode():
        print(json.dumps({"embed": embed, "make": make}[sys.argv[1]](Path(sys.argv[2]), json.load(sys.stdin))))  # noqa: T201 - the test reads it
