"""What the header of a `.safetensors` file says, read without loading anything."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000  # the format's own limit
_LFS_POINTER = b"version https://git-lfs"
# Beside a quantized weight: how to unpack it, not part of what it stands for.
_UNPACKING = (".scales", ".biases", ".qzeros", ".g_idx", ".weight_scale", ".weight_scale_inv", ".input_scale", "_scales")
_WORD_BITS = 32


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it is stored."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many values it has, packed ones as one."""
        return math.prod(self.shape)


class HeaderError(ValueError):
    """A file is no whole safetensors file."""


class TruncatedError(HeaderError):
    """A file is shorter than its header says, as one that is still being copied is.

    Attributes:
        size, expected: Bytes.
    """

    def __init__(self, size: int, expected: int) -> None:
        self.size = size
        self.expected = expected
        super().__init__(f"{size} bytes of {expected}")


class LfsPointerError(HeaderError):
    """A file only says where Git LFS would find the weights."""


def read_header(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name, once its size was checked against them. Raises `HeaderError` or `OSError`."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(_LENGTH_BYTES)
        if start and _LFS_POINTER.startswith(start):
            raise LfsPointerError("a Git LFS pointer")
        if len(start) < _LENGTH_BYTES:
            raise TruncatedError(size, _LENGTH_BYTES)
        length = int.from_bytes(start, "little")
        if not 2 <= length <= _MOST_HEADER_BYTES:
            raise HeaderError(f"a header of {length} bytes")
        text = stream.read(length)
    if len(text) < length:
        raise TruncatedError(size, _LENGTH_BYTES + length)
    try:
        entries = json.loads(text)
        tensors, data = _tensors(entries)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HeaderError(f"its header can't be read: {error}") from error
    expected = _LENGTH_BYTES + length + data
    if size < expected:
        raise TruncatedError(size, expected)
    if size > expected:
        raise HeaderError(f"{size} bytes, {size - expected} more than its header says")
    return tensors


def _tensors(entries: Mapping[str, Any]) -> tuple[dict[str, Tensor], int]:
    tensors, data = {}, 0
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if not (0 <= begin <= end and all(isinstance(each, int) and each >= 0 for each in (begin, end, *shape))):
            raise ValueError(f"{name} has no proper shape or place")
        tensors[name] = Tensor(str(entry["dtype"]), shape)
        data = max(data, end)
    return tensors, data


def count_parameters(tensors: Mapping[str, Tensor], bits: Callable[[str], int | None]) -> int:
    """How many numbers the tensors stand for, unpacked.

    Args:
        tensors: By name.
        bits: Of a number in a packed layer, by the layer's name, where that is known.
    """
    return sum(_stands_for(name, tensor, tensors, bits) for name, tensor in tensors.items() if not name.endswith(_UNPACKING))


def _stands_for(name: str, tensor: Tensor, tensors: Mapping[str, Tensor], bits: Callable[[str], int | None]) -> int:
    layer, _, part = name.rpartition(".")
    packed = (part == "weight" and tensor.dtype == "U32" and f"{layer}.scales" in tensors) or (
        part in ("qweight", "weight_packed") and tensor.dtype == "I32"
    )
    if packed and (width := bits(layer)):
        return tensor.size * _WORD_BITS // width
    if name.endswith("_blocks") and tensor.dtype == "U8":
        return tensor.size * 2  # MXFP4 as OpenAI stores it: two numbers a byte
    return tensor.size
