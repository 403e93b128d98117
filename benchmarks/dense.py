"""Makes a dense float32 copy of a model folder, so that every server computes with the same weights on the CPU.

python -m benchmarks.dense MODEL_FOLDER COPY
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache" / "models-f32"


def dense_copy(model_folder: Path) -> Path:
    """The folder's copy in `.cache/models-f32`, made in a process of its own if it isn't there: MLX stays out of this one."""
    target = CACHE / model_folder.name
    if not target.exists():
        subprocess.run([sys.executable, "-m", "benchmarks.dense", str(model_folder), str(target)], check=True)
    return target


def make_dense(source: Path, target: Path) -> None:
    """Dequantize with mlx-lm's own functions, and save; a copy that was broken off leaves no target behind."""
    import mlx.core as mx
    from mlx_lm.utils import dequantize_model, load_model, save_config, save_model

    mx.set_default_device(mx.Device(mx.cpu))
    model, config = load_model(source)
    model = dequantize_model(model)
    model.set_dtype(mx.float32)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as work:
        copy = Path(work) / target.name
        save_model(copy, model)
        dense = {key: value for key, value in config.items() if key not in {"quantization", "quantization_config"}}
        save_config({**dense, "torch_dtype": "float32"}, copy / "config.json")
        for file in source.iterdir():
            if not (copy / file.name).exists() and not file.name.startswith("model"):
                shutil.copy(file, copy)
        copy.rename(target)


if __name__ == "__main__":
    make_dense(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # MLX may abort in glibc when the interpreter ends
