"""Every device's form of attention gives what MLX's own gives."""

import mlx.core as mx
import pytest

from scheduler.mlx import attention
from scheduler.mlx.attention import Visible, attend_chunk, attend_rows

SCALE = 0.3


def inputs(rows, heads, groups, length, span):
    mx.random.seed(length + span)
    return (
        mx.random.normal((rows, heads, length, 16)),
        mx.random.normal((rows, groups, span, 16)),
        mx.random.normal((rows, groups, span, 16)),
    )


@pytest.fixture(params=["cpu", "cuda", "metal"])
def on(request, monkeypatch):
    """The forms that are chosen on a device; they can be computed on any."""
    monkeypatch.setattr(attention, "device_kind", lambda: request.param)


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (3, 1)])
def test_rows_see_as_much_as_they_hold(heads, groups):
    lengths = [5, 40, 1]
    queries, keys, values = inputs(3, heads, groups, 1, 40)
    mixed = attend_rows(queries, keys, values, SCALE, Visible(lengths, 40))
    for row, length in enumerate(lengths):
        part = slice(row, row + 1)
        own = mx.fast.scaled_dot_product_attention(queries[part], keys[part, :, :length], values[part, :, :length], scale=SCALE)
        assert mx.allclose(mixed[part], own, atol=1e-5)
    alike = attend_rows(queries, keys, values, SCALE, None)
    assert mx.allclose(alike, mx.fast.scaled_dot_product_attention(queries, keys, values, scale=SCALE), atol=1e-5)


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("few", [0, 1 << 21])
@pytest.mark.parametrize(("count", "span"), [(1, 1), (1, 50), (7, 7), (64, 64), (65, 65), (30, 90), (600, 1300), (512, 1024)])
def test_a_chunk_sees_itself_and_what_was_before(monkeypatch, few, count, span):
    monkeypatch.setattr(attention, "_FEW", few)
    queries, keys, values = inputs(1, 6, 2, count, span)
    expected = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=SCALE, mask="causal")
    assert mx.allclose(attend_chunk(queries, keys, values, SCALE), expected, atol=1e-5)


def test_on_cuda_many_lengths_make_few_shapes(monkeypatch):
    shapes = set()
    own = mx.fast.scaled_dot_product_attention

    def noted(queries, keys, values, **options):
        shapes.add((queries.shape, keys.shape))
        return own(queries, keys, values, **options)

    monkeypatch.setattr(attention, "device_kind", lambda: "cuda")
    monkeypatch.setattr(attention.mx.fast, "scaled_dot_product_attention", noted)
    for count in range(2, 500, 7):
        attend_chunk(*inputs(1, 2, 1, count, count), SCALE)
        attend_chunk(*inputs(1, 2, 1, count, count + 300), SCALE)
    assert len(shapes) == 4
