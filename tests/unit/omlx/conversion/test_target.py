"""What a model can be converted to, what that is called, and how large it is."""

import pytest

from actors.catalog.safetensors_header import Tensor
from omlx.conversion.size import expected_bytes
from omlx.conversion.target import Quantization, Target, quantization_of


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ((None, None, None), None),
        ((None, 4, None), Quantization("affine", 4, 64)),
        ((None, None, 32), Quantization("affine", 4, 32)),
        (("mxfp4", None, None), Quantization("mxfp4", 4, 32)),
        (("nvfp4", 4, 16), Quantization("nvfp4", 4, 16)),
    ],
)
def test_what_isn_t_said_is_the_usual(given, chosen):
    assert quantization_of(*given) == chosen


@pytest.mark.parametrize(
    ("given", "said"),
    [((None, 7, None), "2, 3, 4, 5, 6 or 8 bits"), (("mxfp4", 8, None), "4 bits"), (("mxfp8", None, 64), "groups of 32")],
)
def test_what_mlx_doesn_t_know_is_refused_with_what_it_does(given, said):
    with pytest.raises(ValueError, match=said):
        quantization_of(*given)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Target(), "m-mlx"),
        (Target(Quantization("affine", 6, 64)), "m-6bit"),
        (Target(Quantization("mxfp4", 4, 32)), "m-mxfp4"),
    ],
)
def test_its_name(target, name):
    assert target.name_for("m") == name


def test_its_size():
    tensors = {"model.w": Tensor("F16", (128, 256)), "model.norm": Tensor("F16", (256,)), "vision.w": Tensor("F16", (64, 64))}
    whole = 2 * (128 * 256 + 256 + 64 * 64)
    four_bit = Target(Quantization("affine", 4, 64))
    packed = 128 * 256 // 2 + 128 * 256 // 64 * 4 + 2 * 256
    assert expected_bytes(tensors, Target(), sees=False) == whole
    assert expected_bytes(tensors, Target(dtype="float32"), sees=False) == 2 * whole
    assert expected_bytes(tensors, four_bit, sees=True) == packed + 2 * 64 * 64
    assert expected_bytes(tensors, four_bit, sees=False) == packed + 64 * 64 // 2 + 64 * 64 // 64 * 4
