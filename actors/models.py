"""What a model on disk is. Values only: who finds them is `actors.catalog.discovery`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

PICTURE_BYTES = 256 << 20
"""What an engine that sees keeps of pictures' features, at the most."""


class ModelType(StrEnum):
    """What a model is for, and so which endpoints take it."""

    LLM = "llm"
    VLM = "vlm"
    OCR = "ocr"
    EMBEDDING = "embedding"
    RERANKER = "reranker"

    @property
    def sees(self) -> bool:
        """Whether it takes pictures."""
        return self in (ModelType.VLM, ModelType.OCR)

    @property
    def encodes(self) -> bool:
        """Whether it turns texts into numbers, and generates nothing."""
        return self in (ModelType.EMBEDDING, ModelType.RERANKER)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model on disk that can be loaded.

    Attributes:
        model_id: Its folder's name, or `org/Name` where the name alone would be another model's too.
        path: Its folder.
        type: What it is for.
        architecture: `model_type` of its `config.json`.
        size_bytes: Bytes of its weight files.
        parameters: Numbers that its weights stand for, unpacked; 0 where the files don't say.
        context_length: Tokens of prompt and answer together, or None where the configuration doesn't say.
        kv_bytes_per_token: Bytes of KV that one token takes with two bytes a number, as far as the configuration tells; 0
            where it doesn't.
        created: When its configuration was written, Unix seconds.
        revision: Changes with any file of the folder that counts: names, sizes and times of change, as a short hash.
        quantization: For people, such as `4-bit`, or None.
        generation: What its `generation_config.json` says of sampling, by the names of our settings.
        own_code: Python files that it brings along, which nobody runs unless its settings trust them.
    """

    model_id: str
    path: Path
    type: ModelType = ModelType.LLM
    architecture: str = ""
    size_bytes: int = 0
    parameters: int = 0
    context_length: int | None = None
    kv_bytes_per_token: int = 0
    created: int = 0
    revision: str = ""
    quantization: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    own_code: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A folder that looks like a model and can't be served.

    Attributes:
        path: The folder.
        reason: Why, and what would help, in a sentence or two.
    """

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is on disk.

    Attributes:
        models: By id, in the order of ids.
        skipped: By path.
    """

    models: Mapping[str, ModelInfo] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
