"""What a model is for, by its configuration, its tensors' names, and what the installed libraries know."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.catalog.libraries import Libraries
from actors.catalog.reasons import Reason, UnservableError
from actors.models import ModelType

# Parts of the names that vision weights have in all their families.
_VISION_TENSORS = ("vision", "visual", "image", "img_", "sam_model", "siglip", "radio_model", "vpm.", "vit.")
_VISION_CONFIGS = (
    "vision_config",
    "vision_tower",
    "mm_vision_tower",
    "vit_config",
    "img_processor",
    "image_token_id",
    "image_token_index",
)
_OCR = "ocr"
_OCR_WITHOUT_THE_WORD = ("got", "nemotron_parse")
_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")
_OTHER_TASKS = (
    "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "ForImageClassification", "ForObjectDetection",
    "ForSemanticSegmentation", "ForDepthEstimation", "ForAudioClassification", "ForRewardModel",
)  # fmt: skip
_CLASSIFIER = "ForSequenceClassification"
_DRAFTING = ("Draft", "Eagle", "Speculator", "DSpark")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a model.

    Attributes:
        name: Its folder's. Where two kinds of model have the same configuration and the same tensors, it alone tells them apart.
        config: Its `config.json`.
        tensors: Their names.
        modules: The types under `modules.json`, as sentence-transformers writes them.
    """

    name: str
    config: Mapping[str, Any]
    tensors: Collection[str] = ()
    modules: Sequence[str] = ()

    @property
    def model_type(self) -> str:
        """As its configuration has it."""
        return str(self.config["model_type"])

    @property
    def architectures(self) -> tuple[str, ...]:
        """Class names."""
        given = self.config.get("architectures")
        return tuple(str(each) for each in given) if isinstance(given, list) else (given,) if isinstance(given, str) else ()

    def is_called(self, word: str) -> bool:
        """Whether its name has a word in it."""
        return word in self.name.lower()

    def is_class(self, *endings: str) -> bool:
        """Whether one of its architectures ends so."""
        return any(each.endswith(endings) for each in self.architectures)

    def has_module(self, kind: str) -> bool:
        """Whether sentence-transformers puts a module of this kind behind it."""
        return any(each.rpartition(".")[2] == kind for each in self.modules)

    @property
    def has_vision(self) -> bool:
        """Whether it has vision weights; where no tensor is known, whether its configuration speaks of them."""
        if not self.tensors:
            return any(self.config.get(key) for key in _VISION_CONFIGS)
        return any(part in name for name in self.tensors for part in _VISION_TENSORS)


def model_type(evidence: Evidence, libraries: Libraries) -> ModelType:
    """What a model is for. Raises `UnservableError` for one that neither library supports, or not for a task of ours."""
    if evidence.config.get("model_file"):
        return ModelType.LLM  # its own Python file makes it, which no library has to know
    _refuse_drafts(evidence, libraries)
    for kind in (_reranker, _embedding, _vision, _text):
        if found := kind(evidence, libraries):
            return found
    known = libraries.runs_text(evidence.model_type, evidence.architectures) or libraries.package(evidence.model_type)
    if known or evidence.is_class(*_OTHER_TASKS):
        what = ", ".join(evidence.architectures) or "no architecture is named"
        raise UnservableError(Reason.UNSUPPORTED_TASK, what=what, model_type=evidence.model_type)
    raise UnservableError(Reason.UNSUPPORTED, model_type=evidence.model_type)


def _refuse_drafts(evidence: Evidence, libraries: Libraries) -> None:
    named = [each for each in evidence.architectures if any(word in each for word in _DRAFTING)]
    if named or evidence.config.get("dflash_config") or libraries.drafts(evidence.model_type):
        raise UnservableError(Reason.DRAFT, what=", ".join(named) or evidence.model_type)


def _reranker(evidence: Evidence, libraries: Libraries) -> ModelType | None:
    kind = libraries.reranker_kind(evidence.model_type)
    if evidence.is_class(_CLASSIFIER):
        labels = _labels(evidence.config)
        if kind == "SEQUENCE_CLASSIFIER" and labels == 1:
            return ModelType.RERANKER
        what = f"{', '.join(evidence.architectures)} with {labels} label{'s' * (labels != 1)}"
        raise UnservableError(Reason.UNSUPPORTED_TASK, what=what, model_type=evidence.model_type)
    # A reranker that answers "yes" or "no" is a language model with nothing in its configuration to tell.
    generative = kind in ("GENERATIVE_TEXT", "GENERATIVE_VL")
    return ModelType.RERANKER if generative and (evidence.is_called("rerank") or evidence.has_module("LogitScore")) else None


def _labels(config: Mapping[str, Any]) -> int:
    count, names = config.get("num_labels"), config.get("id2label")
    return count if isinstance(count, int) else len(names) if isinstance(names, Mapping) else 1


def _embedding(evidence: Evidence, libraries: Libraries) -> ModelType | None:
    pooled = evidence.has_module("Pooling")
    package = libraries.embedding_package(evidence.model_type)
    if package is None:
        if pooled:
            raise UnservableError(Reason.UNSUPPORTED_EMBEDDING, model_type=evidence.model_type)
        return None
    if evidence.is_class(*_OTHER_TASKS):
        return None
    headless = bool(evidence.architectures) and all(each.endswith("Model") for each in evidence.architectures)
    only_embeds = not libraries.runs_text(evidence.model_type, evidence.architectures)
    told = pooled or evidence.config.get("use_bidirectional_attention") is True or evidence.is_called("embed")
    return ModelType.EMBEDDING if only_embeds or told or (headless and not evidence.is_class("LMHeadModel")) else None


def _vision(evidence: Evidence, libraries: Libraries) -> ModelType | None:
    package = libraries.package(evidence.model_type)
    if package is None or not libraries.sees(package):
        return None
    if not (libraries.takes_prompts(evidence.model_type) or evidence.is_class(*_GENERATING)):
        return None
    reads = (
        _OCR in evidence.model_type.lower()
        or package in _OCR_WITHOUT_THE_WORD
        or any("OCR" in each for each in evidence.architectures)
    )
    if reads:
        return ModelType.OCR
    if not evidence.has_vision and libraries.runs_text(evidence.model_type, evidence.architectures):
        return None
    return ModelType.VLM


def _text(evidence: Evidence, libraries: Libraries) -> ModelType | None:
    if evidence.is_class(*_OTHER_TASKS, "ForMaskedLM"):
        return None
    if libraries.runs_text(evidence.model_type, evidence.architectures):
        return ModelType.LLM
    package = libraries.package(evidence.model_type)
    generates = evidence.is_class(*_GENERATING) or not evidence.architectures
    return ModelType.LLM if package and generates and not libraries.sees(package) else None
