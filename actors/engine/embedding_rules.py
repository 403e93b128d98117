"""What the files of an embedding model say of how it is used: pooling, length, prompt, shorter vectors. Knows no tensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.errors import InvalidJobError

_KNOWN_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_WITH_DENSE = ("gemma3_text", "lfm2")  # families whose package in mlx-vlm has the layers of `Dense` modules
# Where no file tells the pooling: those that take the first token's state, by words of their folders' names. mlx-vlm knows the rest.
_CLS_NAMES = ("bge", "arctic-embed", "mxbai-embed", "gte-modernbert")
# Families that were trained so that the first numbers of a vector are a vector, without a word of it in their files.
_MATRYOSHKA_FAMILIES = ("qwen3", "gemma3_text")
_MATRYOSHKA_NAMES = ("nomic-embed-text-v1.5", "modernbert-embed", "mxbai-embed-large", "arctic-embed-m-v1.5", "arctic-embed-l-v2")
_MATRYOSHKA_KEYS = ("matryoshka_dimensions", "matryoshka_dims", "matryoshka_dim", "is_matryoshka", "truncate_dim")
_TAG = "MatryoshkaLoss"  # what sentence-transformers writes into the card of a model that it trained so
_UNBOUNDED = 1_000_000  # transformers writes a larger number where a tokenizer knows no bound


@dataclass(frozen=True, slots=True)
class EmbeddingRules:
    """How texts become a model's vectors.

    Attributes:
        pooling: As `1_Pooling/config.json` has it; None for what mlx-vlm does with models of this family.
        prefix: What is put before each text: the prompt that the model says is its default.
        longest: Tokens of a text, special ones included, that the model was made for; None where its files don't say.
        shortened: Whether the first numbers of a vector are a vector too (Matryoshka).
        lengths: To which lengths, where the model names them.
    """

    pooling: Mapping[str, Any] | None = None
    prefix: str = ""
    longest: int | None = None
    shortened: bool = False
    lengths: tuple[int, ...] = ()

    def check(self, dimensions: int | None, whole: int) -> None:
        """Raise `InvalidJobError` where the model has no vectors of so many dimensions; whole ones have `whole`."""
        if dimensions is None or dimensions == whole:
            return
        if not self.shortened:
            message = f"Invalid 'dimensions': this model's vectors have {whole}, and it was not trained to have them cut."
        elif self.lengths and dimensions not in self.lengths:
            message = f"Invalid 'dimensions': this model's vectors may have {', '.join(map(str, (*self.lengths, whole)))}."
        elif not 1 <= dimensions <= whole:
            message = f"Invalid 'dimensions': {dimensions} is not between 1 and this model's {whole}."
        else:
            return
        raise InvalidJobError(message, "dimensions")


def read_rules(folder: Path) -> EmbeddingRules:
    """What a model's folder says. Raises `ValueError` where it wants to be used in a way that can't be done."""
    config = _object(folder / "config.json")
    family = str(config.get("model_type", ""))
    modules = _modules(folder)
    _check_modules(modules, family)
    ours = _object(folder / "config_sentence_transformers.json")
    bound = _object(folder / "sentence_bert_config.json").get("max_seq_length")
    hints = [source[key] for source in (config, ours) for key in _MATRYOSHKA_KEYS if source.get(key)]
    named = any(word in folder.name.lower() for word in _MATRYOSHKA_NAMES) or family in _MATRYOSHKA_FAMILIES
    return EmbeddingRules(
        pooling=_pooling(folder, modules, config),
        prefix=_prefix(ours),
        longest=bound if isinstance(bound, int) and bound > 0 else None,
        shortened=bool(hints) or named or _is_tagged(folder / "README.md"),
        lengths=tuple(sorted({each for hint in hints if isinstance(hint, list) for each in hint if isinstance(each, int)})),
    )


def longest_text(*bounds: int | None) -> int | None:
    """The least of some bounds in tokens, where there is one; what transformers writes for none isn't."""
    return min((each for each in bounds if each is not None and 0 < each < _UNBOUNDED), default=None)


def _pooling(folder: Path, modules: list[tuple[str, str]], config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    path = next((path for kind, path in modules if kind == "Pooling"), "1_Pooling")
    if found := _object(folder / Path(path).name / "config.json"):
        return found
    if any(word in folder.name.lower() for word in _CLS_NAMES):
        return {"pooling_mode": "cls"}
    if config.get("model_type") == "modernbert" and config.get("classifier_pooling") in ("cls", "mean"):
        return {"pooling_mode": config["classifier_pooling"]}
    return None


def _check_modules(modules: list[tuple[str, str]], family: str) -> None:
    known = _KNOWN_MODULES | ({"Dense"} if family in _WITH_DENSE else set())
    unknown = sorted({kind for kind, _ in modules} - known)
    if unknown:
        raise ValueError(f"its modules.json wants {', '.join(unknown)} after the model, which mlx-vlm doesn't do for '{family}'")


def _prefix(ours: Mapping[str, Any]) -> str:
    prompts, name = ours.get("prompts"), ours.get("default_prompt_name")
    prompt = prompts.get(name) if isinstance(prompts, Mapping) and name is not None else None
    return prompt if isinstance(prompt, str) else ""


def _modules(folder: Path) -> list[tuple[str, str]]:
    """The modules that sentence-transformers would chain: what each is, and its folder."""
    try:
        listed = json.loads((folder / "modules.json").read_bytes())
    except FileNotFoundError:
        return []
    modules = [each for each in listed if isinstance(each, Mapping)]
    return [(str(each.get("type")).rpartition(".")[2], str(each.get("path", ""))) for each in modules]


def _object(file: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    return value if isinstance(value, Mapping) else {}


def _is_tagged(card: Path) -> bool:
    try:
        return _TAG in card.read_text("utf-8", errors="replace")
    except OSError:
        return False
