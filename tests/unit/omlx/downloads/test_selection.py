"""What is fetched is what MLX reads."""

import pytest

from omlx.downloads.errors import UnsuitableError
from omlx.downloads.selection import Selection

REPOSITORY = [
    ".gitattributes", "LICENSE", "README.md", "USE_POLICY.md", "config.json", "chat_template.jinja", "merges.txt", "tokenizer.model",
    "model-00001-of-00001.safetensors", "model.safetensors.index.json", "modeling.py", "1_Pooling/config.json",
    "consolidated.safetensors", "consolidated.00.pth", "pytorch_model.bin", "pytorch_model.bin.index.json", "model.gguf",
    "onnx/model.onnx", "onnx/config.json", "original/params.json", "original/model.safetensors", ".cache/x.json", "a/.b/x.json",
]  # fmt: skip


def test_a_repository_with_everything_gives_what_mlx_needs():
    assert Selection().choose("org/m", REPOSITORY) == [
        "LICENSE", "README.md", "config.json", "chat_template.jinja", "merges.txt", "tokenizer.model",
        "model-00001-of-00001.safetensors", "model.safetensors.index.json", "modeling.py", "1_Pooling/config.json",
    ]  # fmt: skip


def test_consolidated_weights_are_taken_where_they_are_all_there_is():
    assert Selection().choose("org/m", ["consolidated.safetensors", "params.json"]) == ["consolidated.safetensors", "params.json"]


def test_patterns_narrow_what_is_fetched_and_never_bring_hidden_files():
    assert Selection(allow=("*.safetensors", ".*")).choose("org/m", REPOSITORY) == ["model-00001-of-00001.safetensors"]
    assert "modeling.py" not in Selection(ignore=("*.py",)).choose("org/m", REPOSITORY)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["config.json", "model.gguf"], "Its weights are GGUF files"),
        (["config.json", "pytorch_model.bin"], "Its weights are PyTorch files"),
        (["README.md"], "mlx-community"),
        ([], "has no .safetensors files"),
    ],
)
def test_without_safetensors_the_repository_is_refused_with_what_it_has_instead(files, says):
    with pytest.raises(UnsuitableError, match=r"^org/m has no \.safetensors files") as caught:
        Selection().choose("org/m", files)
    assert says in str(caught.value)


def test_patterns_that_leave_no_weights_are_named_as_the_cause():
    with pytest.raises(UnsuitableError, match="that was asked for"):
        Selection(allow=("*.json",)).choose("org/m", REPOSITORY)
