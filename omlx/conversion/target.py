"""What a model is converted to: how it is quantized, in which numbers the rest is kept, and what that is called."""

from collections.abc import Mapping
from dataclasses import dataclass

DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4}
"""The types that weights can be kept in, with the bytes of a number."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A way in which MLX quantizes.

    Attributes:
        bits, group_sizes: Those that it knows; the first is what it takes by itself.
        group_bytes: What a group has beside its numbers; None for two numbers of the model's own type.
    """

    bits: tuple[int, ...]
    group_sizes: tuple[int, ...]
    group_bytes: int | None = None


MODES: Mapping[str, Mode] = {
    "affine": Mode((4, 2, 3, 5, 6, 8), (64, 32, 128)),
    "mxfp4": Mode((4,), (32,), 1),
    "nvfp4": Mode((4,), (16,), 1),
    "mxfp8": Mode((8,), (32,), 1),
}


@dataclass(frozen=True, slots=True)
class Quantization:
    """How numbers are packed: `bits` for each, and something for each group of `group_size`."""

    mode: str
    bits: int
    group_size: int


@dataclass(frozen=True, slots=True)
class Target:
    """What a model is to be.

    Attributes:
        quantization: None leaves the numbers whole.
        dtype: What isn't packed is kept in; None for what the model says of itself.
    """

    quantization: Quantization | None = None
    dtype: str | None = None

    def name_for(self, source: str) -> str:
        """What a model of this kind is usually called."""
        if self.quantization is None:
            return f"{source}-mlx"
        mode, bits = self.quantization.mode, self.quantization.bits
        return f"{source}-{bits}bit" if mode == "affine" else f"{source}-{mode}"


def quantization_of(mode: str | None, bits: int | None, group_size: int | None) -> Quantization | None:
    """How to quantize, None for not at all, which is so when nothing is given. Raises `ValueError`, with what can be."""
    if mode is None and bits is None and group_size is None:
        return None
    mode = mode or "affine"
    known = MODES[mode]
    chosen = Quantization(mode, bits or known.bits[0], group_size or known.group_sizes[0])
    if chosen.bits not in known.bits:
        raise ValueError(f"{mode} takes {_either(known.bits)} bits a number, not {chosen.bits}.")
    if chosen.group_size not in known.group_sizes:
        raise ValueError(f"{mode} takes groups of {_either(known.group_sizes)} numbers, not {chosen.group_size}.")
    return chosen


def _either(numbers: tuple[int, ...]) -> str:
    *others, last = map(str, sorted(numbers))
    return f"{', '.join(others)} or {last}" if others else last
