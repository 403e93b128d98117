"""Model folders that discovery takes for what they say, without a weight worth loading."""

import json
import struct
from pathlib import Path


def write_weights(file: Path, tensors: int = 1) -> None:
    """A safetensors file of float32 tensors with one number each."""
    header = {f"w{n}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n in range(tensors)}
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4 * tensors))


def write_llama(folder: Path, **config) -> Path:
    """A folder with a llama in it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 4096} | config))
    write_weights(folder / "model.safetensors")
    return folder
