"""A vocabulary head is given the last position alone, wherever a model has it."""

import mlx.core as mx
import pytest
from mlx import nn

from scheduler.mlx.head import look_at_last_position


class Body(nn.Module):
    def __init__(self, head=None):
        super().__init__()
        self.embed_tokens = nn.Embedding(11, 4)
        if head is not None:
            self.lm_head = head


class Language(nn.Module):
    def __init__(self, *, in_body):
        super().__init__()
        head = nn.Linear(4, 11, bias=False)
        self.model = Body(head if in_body else None)
        if not in_body:
            self.lm_head = head


@pytest.mark.parametrize("in_body", [False, True], ids=["of the language model", "of its body"])
def test_the_head_is_found_and_given_the_last_position(in_body):
    language = Language(in_body=in_body)
    found = look_at_last_position(language)
    owner = language.model if in_body else language
    assert owner.lm_head is found
    hidden = mx.random.normal((2, 3, 4))
    assert mx.array_equal(owner.lm_head(hidden), found.head(hidden[:, -1:]))


def test_tied_embeddings_are_the_head_where_there_is_no_other():
    language = Language(in_body=True)
    del language.model["lm_head"]
    head = look_at_last_position(language)
    assert language.model.embed_tokens.as_linear(mx.zeros((1, 3, 4))).shape == (1, 1, 11)
    assert head is not None
