"""Vision-language models whose folders don't say all: how their prompts are written, how their processors are called."""

import json

import mlx.core as mx
import numpy as np
import pytest
from jinja2 import Environment

from actors.engine.loader import load_backend
from actors.engine.processor import as_called
from actors.engine.vision_loader import _template
from actors.models import ModelInfo, ModelType


class Bare:
    """A processor that brings no chat template, or one of its own class."""

    def __init__(self, chat_template=None, default=None):
        self.chat_template = chat_template
        self.default_chat_template = default


def said(model_type, *contents):
    messages = [{"role": "user", "content": content} for content in contents]
    return Environment().from_string(_template(Bare(), model_type, "<image>")).render(messages=messages, bos_token="<s>")  # noqa: S701


PICTURE, WORDS = {"type": "image"}, {"type": "text", "text": "Free OCR."}


def test_without_a_chat_template_a_prompt_is_written_as_mlx_vlm_writes_it():
    assert said("deepseekocr", [PICTURE, WORDS]) == "<s><image>\nFree OCR."
    assert said("deepseekocr_2", [PICTURE, PICTURE, WORDS]) == "<s><image>\n<image>\nFree OCR."
    assert said("unlimited-ocr", [PICTURE, WORDS]) == "<s><image>Free OCR."
    assert said("deepseekocr", "Hello", [PICTURE, WORDS]) == "<s>Hello\n\n<image>\nFree OCR."


def test_a_template_that_a_processor_brings_is_taken_unless_it_is_but_its_classs_default():
    assert _template(Bare("{{ mine }}", "{{ default }}"), "deepseekocr", "<image>") == "{{ mine }}"
    assert "bos_token" in _template(Bare("{{ default }}", "{{ default }}"), "deepseekocr", "<image>")
    assert _template(Bare(), "qwen2_vl", "<|image_pad|>") is None


class Deepseek:
    """Makes what DeepSeek-OCR's processor makes of one picture."""

    tokenizer = object()

    def __call__(self, *, text, images, inference_mode=True):
        tokens = [0, 7, 7, 7, 5]
        return {
            "input_ids": mx.array([tokens[: -1 if inference_mode else None]]),
            "images_seq_mask": mx.array([[False, True, True, True, False][: -1 if inference_mode else None]]),
            "images": [mx.zeros((1, 3, 2, 2), mx.bfloat16), mx.ones((1, 3, 4, 4), mx.bfloat16)],
            "images_spatial_crop": mx.array([[1, 1]]),
            "labels": mx.array(tokens),
            "num_image_tokens": 3,
        }


def test_all_tokens_but_the_one_in_front_are_taken_of_deepseeks_processor():
    made = as_called(Deepseek())(text="<image>\n", images=[object()])
    assert made["input_ids"].tolist() == [[7, 7, 7, 5]]
    assert made["images_seq_mask"].tolist() == [[True, True, True, False]]
    assert made.keys() == {"input_ids", "images_seq_mask", "images_spatial_crop", "pixel_values"}
    assert [(each.shape, each.dtype) for each in made["pixel_values"]] == [((1, 3, 2, 2), np.float32), ((1, 3, 4, 4), np.float32)]


def test_other_processors_are_called_as_they_are():
    def other(*, text, images):
        return {}

    assert as_called(other) is other


def test_a_deepseek_ocr_under_another_models_name_is_refused_with_the_cure(tmp_path):
    config = {"model_type": "deepseek_vl_v2", "architectures": ["DeepseekOCRForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="conversion"):
        load_backend(ModelInfo("DeepSeek-OCR", tmp_path, ModelType.OCR, "deepseek_vl_v2"))
