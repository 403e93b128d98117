"""Which architectures the installed mlx-lm and mlx-vlm know: asked of their files, so that MLX isn't imported."""

import ast
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_DRAFTERS = "speculative/drafters"
_VISION_NAMES = re.compile(r"\bVisionConfig\b|\bVisionModel\b")


@dataclass(frozen=True)
class Libraries:
    """The two libraries' folders; None where one isn't installed."""

    mlx_lm: Path | None
    mlx_vlm: Path | None

    @classmethod
    def installed(cls) -> "Libraries":
        """Those that this process would import."""
        return _installed()

    def runs_text(self, model_type: str, architectures: tuple[str, ...] = ()) -> bool:
        """Whether mlx-lm has a `model_type`."""
        renamed = _table(self.mlx_lm, "utils.py", "MODEL_REMAPPING")
        by_architecture = _table(self.mlx_lm, "utils.py", "MODEL_ARCHITECTURE_REMAPPING")
        special = (by_architecture.get((model_type, architecture)) for architecture in architectures)
        name = next((each for each in special if each), renamed.get(model_type, model_type))
        return _is_name(name) and self.mlx_lm is not None and _is_text_model(self.mlx_lm / "models" / f"{name}.py")

    def package(self, model_type: str) -> str | None:
        """The name of mlx-vlm's package for a `model_type`, if it has one."""
        name = self._vlm_name(model_type)
        return name if self._in_vlm("models", name) else None

    def embedding_package(self, model_type: str) -> str | None:
        """The name of mlx-vlm's package that embeds with a `model_type`, if it has one."""
        renamed = _table(self.mlx_vlm, "embedding_loader.py", "EMBEDDING_MODEL_REMAPPING").get(model_type.lower())
        plain = self._vlm_name(model_type)
        names = (renamed, plain, f"{plain}_embedding")
        return next(
            (name for name in names if name and self._in_vlm("models", name) and self._mentions(name, "EmbeddingOutput")), None
        )

    def sees(self, package: str) -> bool:
        """Whether a package of mlx-vlm has a vision part."""
        return bool(self.mlx_vlm) and _has_vision(self._folder(package))

    def takes_prompts(self, model_type: str) -> bool:
        """Whether mlx-vlm says how prompts with images are written for a `model_type`."""
        known = _table(self.mlx_vlm, "prompt_utils.py", "MODEL_CONFIG")
        return model_type.lower() in known or self._vlm_name(model_type) in known

    def reranker_kind(self, model_type: str) -> str | None:
        """How mlx-vlm reranks with a `model_type`: `SEQUENCE_CLASSIFIER`, `GENERATIVE_TEXT`, `GENERATIVE_VL`, or not at all."""
        kinds = _table(self.mlx_vlm, "reranker.py", "_RERANKER_KINDS")
        return kinds.get(model_type.lower().replace("-", "_"))

    def drafts(self, model_type: str) -> bool:
        """Whether a `model_type` only drafts for another model."""
        name = self._vlm_name(model_type)
        return not self._in_vlm("models", name) and self._in_vlm(_DRAFTERS, name)

    def _vlm_name(self, model_type: str) -> str:
        name: str = _table(self.mlx_vlm, "utils.py", "MODEL_REMAPPING").get(model_type.lower(), model_type.lower())
        return name

    def _in_vlm(self, under: str, name: str) -> bool:
        return _is_name(name) and self.mlx_vlm is not None and (self.mlx_vlm / under / name / "__init__.py").is_file()

    def _folder(self, package: str) -> Path:
        assert self.mlx_vlm is not None
        return self.mlx_vlm / "models" / package

    def _mentions(self, package: str, word: str) -> bool:
        return any(word in source for source in _sources(self._folder(package)))


@cache
def _installed() -> Libraries:
    return Libraries(_folder_of("mlx_lm"), _folder_of("mlx_vlm"))


def _folder_of(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # of a top-level name, which imports nothing
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _is_name(text: Any) -> bool:
    """Whether it can be a module's name: it comes from a file of unknown origin and becomes part of a path."""
    return isinstance(text, str) and re.fullmatch(r"[\w-]+", text) is not None


@cache
def _is_text_model(module: Path) -> bool:
    # Modules of shared parts (cache, base, ...) have no arguments of a model.
    return module.is_file() and re.search(r"\bModelArgs\b", module.read_text("utf-8")) is not None


@cache
def _sources(folder: Path) -> tuple[str, ...]:
    return tuple(file.read_text("utf-8") for file in sorted(folder.glob("*.py")))


@cache
def _has_vision(folder: Path) -> bool:
    return (folder / "vision.py").is_file() or any(_VISION_NAMES.search(source) for source in _sources(folder))


@cache
def _table(library: Path | None, module: str, name: str) -> Mapping[Any, Any]:
    """A dictionary that a module of a library assigns to a name; empty if there is none. Members of enums are given by name."""
    if library is None or not (library / module).is_file():
        return {}
    # Only the assignment is parsed: these modules are long.
    found = re.search(
        rf"^{name}\b[^=\n]*= (\{{.*?^\}}|\{{.*?\}}$)", (library / module).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    if found is None:
        return {}
    try:
        node = ast.parse(found.group(1), mode="eval").body
    except SyntaxError:
        return {}
    assert isinstance(node, ast.Dict)
    pairs = ((_value(key), _value(value)) for key, value in zip(node.keys, node.values, strict=True) if key is not None)
    return {key: value for key, value in pairs if key is not None}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Attribute):
        return node.attr
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
