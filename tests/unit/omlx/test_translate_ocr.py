"""An OCR model that gets pictures without a word is asked what it was made for; where there is a word, nothing changes."""

from dataclasses import replace

import pytest

from actors.models import ModelType
from actors.ocr import FAMILIES
from omlx.api.openai import ChatRequest
from omlx.api.translate import chat_job
from scheduler.sampling import SamplingParams
from tests.fakes.catalog import served

PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
BLANK = {"type": "text", "text": " \n"}
GLM = next(family for family in FAMILIES if family.name == "GLM-OCR")


def ask(*contents, fields=(), architecture="glm_ocr", type_=ModelType.OCR, **model):
    messages = [{"role": ("user", "assistant")[number % 2], "content": content} for number, content in enumerate(contents)]
    asked = served("tiny", type_, **model)
    asked = replace(asked, model=replace(asked.model, architecture=architecture))
    return chat_job(ChatRequest(messages=messages, **dict(fields)), asked)


def last(job):
    return job.prompt.messages[-1]["content"]


def drawn(job):
    return job.sampling.temperature, job.sampling.repetition_penalty, job.max_tokens


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_picture_alone_is_read_as_its_family_does_it(family):
    for architecture in family.architectures:
        job = ask([PICTURE], architecture=architecture)
        assert last(job) == [{"type": "image"}, {"type": "text", "text": family.instruction}]
        assert job.sampling.temperature == 0
        assert job.max_tokens == family.sampling["max_tokens"]


def test_blank_text_is_none_and_several_pictures_stay_in_order():
    assert last(ask([PICTURE, BLANK, PICTURE])) == [
        {"type": "image"},
        {"type": "image"},
        {"type": "text", "text": GLM.instruction},
    ]


def test_only_the_users_last_message_counts():
    wordless = ask([{"type": "text", "text": "Read it."}, PICTURE], "Hello", [PICTURE])
    assert [part.get("text") for part in wordless.prompt.messages[0]["content"]] == ["Read it.", None]
    assert last(wordless)[-1]["text"] == GLM.instruction
    worded = ask([PICTURE], "Hello", "And now?")
    assert worded.prompt.messages[0]["content"] == [{"type": "image"}]
    assert worded.sampling.temperature == 1


@pytest.mark.parametrize(
    "changes",
    [{"architecture": "mistral3"}, {"type_": ModelType.VLM}, {"type_": ModelType.LLM}],
    ids=["an unknown family", "a vision model", "a text model"],
)
def test_others_are_asked_what_the_request_says(changes):
    job = ask([PICTURE], **changes)
    assert last(job) == [{"type": "image"}]
    assert drawn(job) == (1, 1, None)


def test_words_are_left_alone_and_drawn_as_always():
    job = ask([PICTURE, {"type": "text", "text": "Table Recognition:"}])
    assert last(job) == [{"type": "image"}, {"type": "text", "text": "Table Recognition:"}]
    assert job.sampling == SamplingParams(seed=job.sampling.seed)
    assert job.max_tokens is None


def test_the_familys_defaults_are_the_last_that_are_asked():
    assert drawn(ask([PICTURE])) == (0, 1.1, 8192)
    assert drawn(ask([PICTURE], defaults={"temperature": 0.5})) == (0.5, 1.1, 8192)
    assert drawn(ask([PICTURE], defaults={"temperature": 0.5}, fields={"temperature": 0.7, "max_tokens": 9})) == (0.7, 1.1, 9)


@pytest.mark.parametrize(
    ("setting", "request_says", "expected"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_layout_is_cleaned_where_the_request_or_else_the_model_says_so(setting, request_says, expected):
    job = ask([PICTURE], fields={"clean_ocr": request_says}, clean_ocr=setting)
    assert job.clean_layout is expected
