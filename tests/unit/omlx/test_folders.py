"""The Hugging Face cache is where Hugging Face's tools would look for it."""

from pathlib import Path

import pytest

from omlx.folders import hf_cache_folder


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub"),
        ({"HF_HOME": "/home/hf", "XDG_CACHE_HOME": "/xdg"}, "/home/hf/hub"),
        ({"HF_HUB_CACHE": "/cache", "HF_HOME": "/home/hf"}, "/cache"),
        ({"HF_HUB_CACHE": "", "HF_HOME": "~/hf"}, "~/hf/hub"),
    ],
)
def test_the_hugging_face_cache_follows_their_variables(environment, folder):
    assert hf_cache_folder(environment) == Path(folder).expanduser()
