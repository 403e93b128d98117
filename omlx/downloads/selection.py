"""Which files of a repository make up a model for MLX."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from huggingface_hub.utils import filter_repo_objects

from omlx.downloads.errors import UnsuitableError

# What mlx-lm and mlx-vlm fetch, and what people want to read beside it. Python files are stored and never run without being
# asked (`trust_remote_code`).
_ALLOWED = (
    "*.safetensors", "*.json", "*.jsonl", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py", "README.md", "LICENSE*", "NOTICE*",
)  # fmt: skip
# The same weights again for other software, and whatever is hidden.
_IGNORED = ("original/*", "onnx/*", "openvino/*", "coreml/*", "*.bin.index.json", ".[!.]*", "*/.[!.]*")
_WEIGHTS = ".safetensors"
_CONSOLIDATED = "consolidated*.safetensors"


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns of files, as a shell has them; `*` goes over slashes too.

    Attributes:
        allow: What is fetched at most; where there are none, what MLX needs.
        ignore: What isn't fetched, beyond what MLX can't use.
    """

    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def choose(self, repository: str, paths: Sequence[str]) -> list[str]:
        """The files to fetch, of all there are. Raises `UnsuitableError` if there are no weights among them."""
        ignored = [*_IGNORED, *self.ignore]
        if any(path.startswith("model") and path.endswith(_WEIGHTS) for path in paths):
            ignored.append(_CONSOLIDATED)  # Mistral's own software reads these; they are the same weights
        chosen = list(filter_repo_objects(paths, allow_patterns=list(self.allow or _ALLOWED), ignore_patterns=ignored))
        if not any(path.endswith(_WEIGHTS) for path in chosen):
            raise UnsuitableError(_why_not(repository, paths))
        return chosen


def _why_not(repository: str, paths: Iterable[str]) -> str:
    names = list(paths)
    if any(name.endswith(_WEIGHTS) for name in names):
        return f"Nothing of {repository} that was asked for is a {_WEIGHTS} file. Ask for other files, or leave the patterns out."
    others = {"GGUF": ".gguf", "PyTorch": ".bin", "ONNX": ".onnx", "NumPy": ".npz"}
    kinds = [kind for kind, ending in others.items() if any(name.endswith(ending) for name in names)]
    has = f" Its weights are {' and '.join(kinds)} files." if kinds else ""
    return (
        f"{repository} has no {_WEIGHTS} files, which are what MLX loads.{has} Choose a conversion for MLX instead: "
        "mlx-community on Hugging Face has many."
    )
