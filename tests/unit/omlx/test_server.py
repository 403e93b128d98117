"""What a person is told to type at the start can be typed."""

from pathlib import Path

from actors.control import Served
from actors.models import ModelInfo, ModelType
from omlx.server import _example


def served(name, type_=ModelType.LLM, **more):
    return Served(ModelInfo(f"{name}-folder", Path("/m") / name, type_), name, **more)


def test_the_example_names_a_model_to_chat_with_as_clients_see_it():
    assert _example([served("bert", ModelType.EMBEDDING), served("first"), served("second")]) == "first"
    assert _example([served("first"), served("sight", ModelType.VLM, is_default=True)]) == "sight"


def test_without_a_model_to_chat_with_the_example_names_the_demo_model():
    assert _example([]) == _example([served("bert", ModelType.EMBEDDING)]) == "SmolLM2-135M-Instruct"
