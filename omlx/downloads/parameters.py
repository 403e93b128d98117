"""How many numbers a model's weights stand for, from what a place tells without their headers."""

from collections.abc import Mapping
from typing import Any

from actors.catalog.model_config import parts

_WORD_BITS = 32
_PLAIN_BITS = {"float32": 32, "float64": 64}  # else two bytes a number
_DTYPE_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_PACKED = ("U32", "I32")


def from_size(size: int, config: Mapping[str, Any]) -> int:
    """Roughly, for weight files of so many bytes, as their configuration says that they are quantized."""
    bits, group, scale_bits = _quantization(config)
    if not bits:
        dtypes = (str(part.get("dtype") or part.get("torch_dtype")) for part in parts(config))
        bits = next((_PLAIN_BITS[each] for each in dtypes if each in _PLAIN_BITS), 16)
    return size * 8 * group // (bits * group + scale_bits) if group else size * 8 // bits


def from_counts(counts: Mapping[str, int], size: int, config: Mapping[str, Any]) -> int:
    """The sum of counts by dtype, where counts of packed words become counts of what is packed in them.

    Args:
        counts: By dtype, as safetensors names it.
        size: Bytes of all weight files.
        config: Its `config.json`.
    """
    bits, _, _ = _quantization(config)
    stored = sum(count * _DTYPE_BYTES.get(dtype, 1) for dtype, count in counts.items())
    if not bits or stored > size:
        bits = _WORD_BITS  # counts that don't fit into the files were unpacked already by whoever counted
    return sum(count * _WORD_BITS // bits if dtype in _PACKED else count for dtype, count in counts.items())


def _quantization(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Bits of a number, numbers that share a scale, and bits of what they share; zeros where weights are plain."""
    for part in parts(config):
        for key in ("quantization", "quantization_config"):
            found = part.get(key)
            if isinstance(found, Mapping) and (bits := _count(found, "bits")):
                # MLX keeps a scale and a bias of two bytes, and a byte for the scale of microscaling formats.
                return bits, _count(found, "group_size"), 32 if found.get("mode", "affine") == "affine" else 8
    return 0, 0, 0


def _count(found: Mapping[str, Any], key: str) -> int:
    value = found.get(key)
    return value if type(value) is int and 0 < value <= 1 << 16 else 0
