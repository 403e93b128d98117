"""What is computed in other ways on the CPU is the same, to the precision of float32."""

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from scheduler.mlx import cpu, mkl
from scheduler.mlx.blas import find_blas
from scheduler.mlx.cpu import attention, attention_at_once, exp2, swiglu
from scheduler.mlx.head import look_at_last_position
from tests.mlx.tiny import tiny_model


@pytest.mark.parametrize("count", [1000, 200_000])  # below and above where the polynomial begins
def test_powers_of_two(count):
    x = np.linspace(-120, 120, count).astype(np.float32)
    assert np.allclose(np.array(exp2(mx.array(x))), 2.0 ** x.astype(np.float64), rtol=3e-6)


@pytest.mark.parametrize("count", [10, 100_000])
def test_powers_beyond_the_range_of_float32_do_no_harm(count):
    x = mx.array([-1e9, -200.0, 0.0, 1.0] * count)
    assert exp2(x)[:4].tolist() == pytest.approx([0.0, 0.0, 1.0, 2.0], abs=1e-6)


@pytest.mark.parametrize("rows", [1, 40, 300])
def test_swiglu(rows):
    gate, x = mx.random.normal((rows, 512)) * 20, mx.random.normal((rows, 512))
    assert mx.allclose(swiglu(gate, x), nn.silu(gate) * x, rtol=1e-4, atol=1e-6)
    assert mx.allclose(swiglu(mx.full((rows, 512), -1e4), x), mx.zeros(1), atol=1e-6)


@pytest.mark.parametrize("rows", [1, 40, 300])
def test_gelu(rows):
    x = mx.random.normal((rows, 512)).transpose() * 4  # not as it stands in memory
    assert mx.allclose(cpu.gelu(x), nn.gelu(x), rtol=1e-5, atol=1e-6)
    assert mx.allclose(cpu.gelu(mx.full((rows, 512), -1e4)), mx.zeros(1))


def test_layers_that_are_an_exact_gelu_are_replaced_and_others_are_not():
    layers = nn.Sequential(nn.GELU(), nn.GELU("tanh"), nn.Linear(4, 4))
    cpu.tune_activations(layers)
    assert [type(layer) is nn.GELU for layer in layers.layers] == [False, True, False]
    x = mx.random.normal((300, 512))
    assert mx.allclose(layers.layers[0](x), nn.gelu(x), rtol=1e-5, atol=1e-6)
    assert layers.layers[0](x.astype(mx.bfloat16)).dtype == mx.bfloat16


def masks(rows, length, span):
    seen = mx.arange(span)[None] <= mx.arange(span - length, span)[:, None]
    padded = mx.arange(span)[None] >= mx.arange(rows)[:, None]  # row n has n positions of padding
    return {
        "none": None,
        "causal": "causal",
        "shared": seen,
        "by row": seen[None, None] & padded[:, None, None],
        "added": mx.where(seen, 0.0, -1e9),
        "by head": mx.broadcast_to(seen, (rows, 6, length, span)),
    }


@pytest.fixture(params=["mkl", "another BLAS"])
def blas(request, monkeypatch):
    if request.param == "mkl":
        assert mkl.is_open() == (find_blas() is not None and find_blas().name == "Intel MKL")
    else:
        monkeypatch.setattr(mkl, "is_open", lambda: False)


@pytest.mark.usefixtures("blas")
@pytest.mark.parametrize("length", [1, 7, 64])
@pytest.mark.parametrize("kind", ["none", "causal", "shared", "by row", "added", "by head"])
def test_attention_is_mlxs_own(kind, length):
    rows, span = 3, 64
    queries = mx.random.normal((rows, 6, length, 16))
    keys, values = mx.random.normal((rows, 2, span, 16)), mx.random.normal((rows, 2, span, 8))
    mask = masks(rows, length, span)[kind]
    expected = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=0.25, mask=mask)
    for attend in (attention, attention_at_once):
        assert mx.allclose(attend(queries, keys, values, 0.25, mask), expected, atol=1e-5)


@pytest.mark.usefixtures("blas")
@pytest.mark.parametrize("block", [1 << 20, 5000])  # scores that are worked on together: all, and less than one row's
def test_attention_over_heads_that_were_split_off(monkeypatch, block):
    monkeypatch.setattr(mkl, "_BLOCK", block)
    heads = [mx.random.normal((5, 40, 6 * 16)).reshape(5, 40, 6, 16).transpose(0, 2, 1, 3) for _ in range(3)]
    hidden = mx.where(mx.arange(40)[None] < mx.array([40, 3, 17, 1, 40])[:, None], 0.0, mx.finfo(mx.float32).min)
    mask = hidden[:, None, None]
    expected = mx.fast.scaled_dot_product_attention(*heads, scale=0.25, mask=mask)
    assert mx.allclose(attention_at_once(*heads, 0.25, mask), expected, atol=1e-5)
    sideways = [mx.contiguous(each.swapaxes(-1, -2)).swapaxes(-1, -2) for each in heads]  # no number next to its neighbour
    assert mx.allclose(attention_at_once(*sideways, 0.25, mask), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "moe", "hybrid"])
@pytest.mark.parametrize("rows", [1, 16])
def test_only_the_last_positions_logits_are_made(kind, rows):
    model = tiny_model(kind)
    tokens = mx.array([[(row * 5 + position) % 90 for position in range(9)] for row in range(rows)])
    expected = model(tokens)[:, -1:, :]
    look_at_last_position(model)
    logits = model(tokens)
    assert logits.shape == expected.shape
    assert mx.allclose(logits, expected, atol=1e-4)
