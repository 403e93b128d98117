"""How large a converted model will be, about: the converter's own rules, applied to the names and shapes of the weights."""

import re
from collections.abc import Mapping

from actors.catalog.safetensors_header import Tensor
from omlx.conversion.target import DTYPES, MODES, Quantization, Target

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # of floating-point numbers
_OTHER_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}
# What of a vision-language model mlx-vlm leaves whole.
_SENSES = re.compile(r"vision|visual|audio|aligner|connector|sam_model|projector|patch_merge")


def expected_bytes(tensors: Mapping[str, Tensor], target: Target, *, sees: bool) -> int:
    """The bytes of the weights once they are converted.

    Args:
        tensors: Those of the source, by name.
        target: What they become.
        sees: Whether it is a vision-language model, whose eye stays whole.
    """
    return sum(
        _bytes(tensor, target, None if sees and _SENSES.search(name) else target.quantization) for name, tensor in tensors.items()
    )


def _bytes(tensor: Tensor, target: Target, quantization: Quantization | None) -> int:
    width = _BYTES.get(tensor.dtype)
    if width is None:
        return tensor.size * _OTHER_BYTES.get(tensor.dtype, 1)
    if target.dtype is not None:
        width = DTYPES[target.dtype]
    if quantization is None or len(tensor.shape) not in (2, 3) or tensor.shape[-1] % quantization.group_size:
        return tensor.size * width
    of_group = MODES[quantization.mode].group_bytes or 2 * width
    return tensor.size * quantization.bits // 8 + tensor.size // quantization.group_size * of_group
