"""A folder with a tiny random llama and a tokenizer of 64 words."""

import tempfile
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from benchmarks.random_model import SHAPES, make_model


def write_tiny(folder: Path) -> Path:
    """Make it; the folder."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place)
        tokenizer = Tokenizer(WordLevel({"<end>": 0, **{f"w{token}": token for token in range(1, 64)}}, "<end>"))
        tokenizer.pre_tokenizer = Whitespace()
        tokenizer.add_special_tokens(["<end>"])
        tokenizer.save(str(source / "tokenizer.json"))
        (source / "config.json").write_text('{"eos_token_id": 0}')
        (source / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>"}')
        make_model(folder, SHAPES["tiny"], "float32", source)
    return folder
