"""Which tokens a random model may say, and what its configuration tells."""

from benchmarks.random_model import SHAPES, silent_tokens


class Words:
    words = ("", "a", " b", "\ufffd", "c\ufffd", "\n")

    def get_vocab_size(self):
        return len(self.words)

    def decode(self, ids):
        return "".join(self.words[token] for token in ids)


def test_tokens_without_whole_text_are_silent():
    assert silent_tokens(Words()) == [0, 3, 4]


def test_a_configuration_has_the_shape():
    config = SHAPES["llama-8b"].config(49_152, 2, "bfloat16")
    assert (config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"]) == (32, 4096, 14_336)
    assert (config["head_dim"], config["vocab_size"], config["eos_token_id"], config["torch_dtype"]) == (
        128,
        49_152,
        2,
        "bfloat16",
    )
