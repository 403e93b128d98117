"""An OCR model over HTTP: a picture without a word is read, and marks of layout are left out where that is asked for."""

import json

import openai
import pytest

from benchmarks.server import running_server
from tests.e2e.ocr_models import write_glm_ocr
from tests.e2e.test_vision_server import turn

MODEL = "reading"
MARK = "<|begin_of_box|>"


@pytest.fixture(scope="module")
def folder(demo_models, tmp_path_factory):
    """A folder with a small random GLM-OCR."""
    made = tmp_path_factory.mktemp("models")
    write_glm_ocr(made / MODEL, demo_models / "SmolLM2-135M-Instruct")
    return made


@pytest.fixture(scope="module")
def client(folder):
    with (
        running_server(folder, "--no-hf-cache") as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=90) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def only_marks(folder):
    """What makes the model say nothing but a mark of layout."""
    added = json.loads((folder / MODEL / "tokenizer.json").read_text())["added_tokens"]
    return {"logit_bias": {str(each["id"]): 100 for each in added if each["content"] == MARK}, "max_tokens": 3}


def ask(client, *messages, **options):
    return client.chat.completions.create(model=MODEL, messages=messages, **{"max_tokens": 8} | options)


def test_a_picture_without_a_word_is_read_as_the_family_is_asked_to(client):
    alone = ask(client, turn(1))
    asked = ask(client, turn(1, "Text Recognition:"), temperature=0, extra_body={"repetition_penalty": 1.1})
    assert alone.usage.prompt_tokens == asked.usage.prompt_tokens
    assert alone.choices[0].message.content == asked.choices[0].message.content
    assert (
        ask(client, turn(1, "Table Recognition:"), temperature=0).choices[0].message.content != asked.choices[0].message.content
    )


def test_marks_of_layout_are_left_out_where_the_request_says_so(client, only_marks):
    assert ask(client, turn(1), **only_marks).choices[0].message.content == MARK * 3
    cleaned = ask(client, turn(1), **only_marks, extra_body={"clean_ocr": True})
    assert (cleaned.choices[0].message.content, cleaned.usage.completion_tokens) == ("", 3)


@pytest.mark.parametrize(("clean", "expected"), [(False, MARK * 3), (True, "")])
def test_streams_are_cleaned_alike(client, only_marks, clean, expected):
    chunks = list(ask(client, turn(1), stream=True, **only_marks, extra_body={"clean_ocr": clean}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
    assert chunks[-1].choices[0].finish_reason == "length"
