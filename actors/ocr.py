"""What OCR models are asked when a picture comes without a word, and which marks of layout stand in their answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.models import ModelInfo, ModelType


@dataclass(frozen=True, slots=True)
class Layout:
    """Marks of layout in answers, as regular expressions.

    Attributes:
        marks: Each of them.
        begun: All that may become one, or a longer one, when more text comes.
    """

    marks: str
    begun: str


@dataclass(frozen=True, slots=True)
class OcrFamily:
    """OCR models that are asked alike and answer alike.

    Attributes:
        name: What their makers call them.
        architectures: The `model_type` of their `config.json`, in lower case.
        instruction: What they are asked about a picture that comes without a word.
        sampling: Defaults of such a request, below all others; by the names of `actors.settings.SAMPLING`.
        layout: Of their answers, where it has marks.
    """

    name: str
    architectures: tuple[str, ...]
    instruction: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    layout: Layout | None = None


_TAG_BEGUN = r"<(?:\|[\w/]{0,24}\|?)?"  # of any tag, `<|…|>`

# What DeepSeek-OCR calls the parts of a page. Between `<|ref|>` and `<|/ref|>` anything else is the page's own text.
_PARTS = (
    "title", "sub_title", "text", "list", "code", "reference", "footnote", "equation", "image", "image_caption", "image_footnote",
    "table", "table_caption", "table_footnote", "figure", "figure_title", "header", "footer", "page_number",
)  # fmt: skip
# A box in DeepSeek-OCR's form, `[[1, 2, 3, 4]]`, or Unlimited-OCR's, `title [1, 2, 3, 4]`. The answer may end within one.
_BOX = r"<\|det\|>[a-z_ ]{0,32}\[[\d.,\s\[\]]*(?:<\|/det\|>\n?|\Z)"
_BOX_BEGUN = r"<\|det\|>[a-z_ ]{0,32}(?:\[[\d.,\s\[\]]*(?:<[|/det]{0,6}|<\|/det\|>)?)?"
_GROUNDING = Layout(
    rf"<\|ref\|>(?:{'|'.join(_PARTS)})<\|/ref\|>(?:{_BOX})?|{_BOX}|<\|/?(?:ref|det)\|>|<\|grounding\|>",
    rf"<\|ref\|>[a-z_]{{0,16}}(?:<[|/ref]{{0,6}}|<\|/ref\|>(?:<[|det]{{0,5}}|{_BOX_BEGUN})?)?|{_BOX_BEGUN}|{_TAG_BEGUN}",
)

FAMILIES: tuple[OcrFamily, ...] = (
    OcrFamily(
        "DeepSeek-OCR",
        ("deepseekocr", "deepseekocr_2", "deepseek_vl_v2"),
        "<|grounding|>Convert the document to markdown.",
        {"temperature": 0.0, "max_tokens": 8192},
        _GROUNDING,
    ),
    OcrFamily(
        "Unlimited-OCR",
        ("unlimited-ocr", "unlimited_ocr"),
        "document parsing.",
        {"temperature": 0.0, "max_tokens": 32768},
        _GROUNDING,
    ),
    OcrFamily(
        "DOTS-OCR",
        ("dots_ocr",),
        "Extract the text content from this image.",
        {"temperature": 0.0, "max_tokens": 16384},
    ),
    OcrFamily(
        "GLM-OCR",
        ("glm_ocr",),
        "Text Recognition:",
        {"temperature": 0.0, "repetition_penalty": 1.1, "max_tokens": 8192},
        Layout(r"<\|(?:begin|end)_of_(?:box|image)\|>|<\|image\|>", _TAG_BEGUN),
    ),
    OcrFamily(
        "PaddleOCR-VL",
        ("paddleocr_vl",),
        "OCR:",
        {"temperature": 0.0, "max_tokens": 8192},
        Layout(r"<\|LOC_(?:\d{1,4}|BEGIN|END|SEP)\|>|<\|TEXT_(?:START|END)\|>|<\|IMAGE_(?:START|END|PLACEHOLDER)\|>", _TAG_BEGUN),
    ),
    OcrFamily(
        "GOT-OCR",
        ("got",),
        "OCR:",
        {"temperature": 0.0, "max_tokens": 2048},
    ),
)


def family_of(model: ModelInfo) -> OcrFamily | None:
    """The family of an OCR model, if it is of one that is known."""
    if model.type is not ModelType.OCR:
        return None
    return next((family for family in FAMILIES if model.architecture.lower() in family.architectures), None)
