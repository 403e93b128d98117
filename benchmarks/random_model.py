"""Makes a model folder with random weights, of a known model's shape: as fast as the real one, and nothing to download.

    python -m benchmarks.random_model OUT --shape llama-1b --dtype bfloat16 --tokenizer MODEL_FOLDER

The tokenizer's files are those of another model. Tokens that show no text (the end of the answer, other special ones, bytes
that are no character alone) get a logit of zero, which greedy decoding never picks while others are above it. So an answer always
has its full length, whatever its server knows of `ignore_eos`, and each of its tokens can be seen.
"""

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

CONTEXT = 131_072
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")


@dataclass(frozen=True, slots=True)
class Shape:
    """A llama's sizes.

    Attributes:
        tied: Whether the embeddings serve as the vocabulary's head too.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    tied: bool

    def config(self, vocabulary: int, end: int, dtype: str) -> dict[str, Any]:
        """A `config.json`; `end` is the token that would end an answer."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "intermediate_size": self.intermediate,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.hidden // self.heads,
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": 1e-05,
            "rope_theta": 500_000.0,
            "vocab_size": vocabulary,
            "tie_word_embeddings": self.tied,
            "torch_dtype": dtype,
            "eos_token_id": end,
        }


SHAPES = {
    "llama-1b": Shape(layers=16, hidden=2048, heads=32, kv_heads=8, intermediate=8192, tied=True),
    "llama-8b": Shape(layers=32, hidden=4096, heads=32, kv_heads=8, intermediate=14_336, tied=False),
    "tiny": Shape(layers=2, hidden=64, heads=4, kv_heads=2, intermediate=128, tied=True),  # to try things with
}


class Decodes(Protocol):
    """What is needed of a tokenizer."""

    def get_vocab_size(self) -> int:
        """How many tokens it has."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of some tokens, without that of special ones."""
        ...


def silent_tokens(tokenizer: Decodes) -> list[int]:
    """The tokens that show no text, or only part of a character."""
    texts = (tokenizer.decode([token]) for token in range(tokenizer.get_vocab_size()))
    return [token for token, text in enumerate(texts) if not text or "\ufffd" in text]


def make_model(target: Path, shape: Shape, dtype: str, tokenizer_folder: Path) -> None:
    """Write the folder."""
    import mlx.core as mx
    from mlx_lm.models.llama import Model, ModelArgs
    from mlx_lm.utils import load_config, save_config, save_model
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    config = shape.config(tokenizer.get_vocab_size(), load_config(tokenizer_folder)["eos_token_id"], dtype)
    mx.random.seed(0)
    model = Model(ModelArgs.from_dict(config))
    model.set_dtype(getattr(mx, dtype))
    head = model.model.embed_tokens if shape.tied else model.lm_head
    head.weight[mx.array(silent_tokens(tokenizer))] = 0
    work = target.with_name(f".{target.name}.making")
    save_model(work, model)
    save_config(config, work / "config.json")
    for name in _TOKENIZER_FILES:
        if (tokenizer_folder / name).exists():
            shutil.copy(tokenizer_folder / name, work)
    work.rename(target)


def main() -> None:
    """Make one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to make; its name becomes the model's")
    parser.add_argument("--shape", choices=SHAPES, default="llama-1b")
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    parser.add_argument("--tokenizer", type=Path, required=True, help="a model folder whose tokenizer it gets")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} is there already")
    make_model(options.out.absolute(), SHAPES[options.shape], options.dtype, options.tokenizer)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # MLX may abort in glibc when the interpreter ends
