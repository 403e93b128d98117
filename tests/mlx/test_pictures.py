"""What stands for a prompt with pictures, piece by piece, and which pictures are looked at for it."""

import mlx.core as mx
import pytest

from scheduler.mlx.pictures import Picture, PictureFeatures, PicturePrompt
from scheduler.mlx.prompt_inputs import Features, Fed, gather

SIZE = 4


def rows(*values):
    """Embeddings that can be told apart."""
    return mx.array([[float(value)] * SIZE for value in values]).reshape(len(values), SIZE)


class Eye:
    """A model whose word n is embedded as n, and whose pictures are embedded as 100 times their digest and what follows."""

    def __init__(self, levels=0, delta=0):
        self.seen = []
        self.levels = levels
        self.delta = delta

    def embed(self, tokens):
        return rows(*tokens.tolist())

    def see(self, token_ids, inputs):
        name = int(inputs["pixel_values"].item())
        self.seen.append(name)
        deeper = tuple(rows(*[1000 * (level + 1) + name] * len(token_ids)) for level in range(self.levels))
        return Features(rows(*(100 * name + place for place in range(len(token_ids)))), None, deeper)

    def places(self, token_ids, pictures):
        assert all("pixel_values" not in each for each in pictures)
        if not self.delta:
            return None, 0
        return mx.broadcast_to(mx.arange(len(token_ids)) * 2, (3, len(token_ids))), self.delta


def picture(name, tokens=3):
    return Picture(bytes([name]), (7,) * tokens, {"pixel_values": mx.array([name]), "grid": mx.array([[1]])})


def prompt(eye, budget=1 << 20):
    """Words 1 2, picture 5, word 3, picture 6, words 4 5."""
    features = PictureFeatures(eye, budget)
    return features, PicturePrompt(features, (1, 2, 7, 7, 7, 3, 7, 7, 7, 4, 5), ((2, picture(5)), (6, picture(6))))


def first(array):
    return array[:, 0].tolist()


WHOLE = [1, 2, 500, 501, 502, 3, 600, 601, 602, 4, 5]


@pytest.mark.parametrize("cut", range(1, 11))
def test_pieces_are_parts_of_the_whole(cut):
    _, inputs = prompt(Eye())
    assert first(inputs.features(0, 11).embeddings) == WHOLE
    assert first(inputs.features(0, cut).embeddings) + first(inputs.features(cut, 11).embeddings) == WHOLE


def test_only_pictures_in_a_piece_are_looked_at_and_each_once():
    eye = Eye()
    features, inputs = prompt(eye)
    inputs.features(0, 2)
    assert eye.seen == []
    inputs.features(4, 6)
    assert eye.seen == [5]
    inputs.features(5, 11)
    inputs.features(0, 11)
    assert eye.seen == [5, 6]
    assert features.encoded == 2


def test_features_are_kept_within_a_budget_the_latest_longest():
    eye = Eye()
    one = 3 * SIZE * 4
    features = PictureFeatures(eye, 2 * one)
    for name in (1, 2, 1, 3, 1, 2):
        features.of(picture(name))
    assert eye.seen == [1, 2, 3, 2]
    small = PictureFeatures(Eye(), one - 1)
    small.of(picture(1))
    small.of(picture(1))
    assert small.encoded == 2


def test_what_is_added_further_up_stands_at_the_pictures_places_alone():
    _, inputs = prompt(Eye(levels=2))
    deeper = inputs.features(1, 7).deeper
    assert [first(each) for each in deeper] == [[0, 1005, 1005, 1005, 0, 1006], [0, 2005, 2005, 2005, 0, 2006]]
    assert inputs.features(0, 2).deeper == ()


def test_a_step_of_words_alone_needs_nothing():
    assert gather(None, mx.array([1, 2]), [Fed(None, 5, 4, 5), Fed(None, 5, 0, 1)]) is None


def test_a_step_gathers_everybodys_embeddings_and_positions():
    eye = Eye(levels=1, delta=-3)
    _, inputs = prompt(eye)
    fed = [
        Fed(None, 4, 6, 7),  # a word's next token
        Fed(inputs, 11, 12, 13),  # the token after those of a picture's prompt
        Fed(inputs, 11, 4, 7),  # a chunk of that prompt
        Fed(None, 9, 2, 4),  # a chunk of words
        Fed(inputs, 11, 9, 13),  # a prompt that was preempted, with what it had said
    ]
    tokens = mx.array([91, 92, 0, 0, 0, 93, 94, 0, 0, 95, 96])
    found = gather(eye.embed, tokens, fed)
    assert first(found.embeddings) == [91, 92, 502, 3, 600, 93, 94, 4, 5, 95, 96]
    assert found.positions.tolist() == [[6, 9, 8, 10, 12, 2, 3, 18, 20, 8, 9]] * 3
    assert first(found.deeper[0]) == [0, 0, 1005, 0, 1006, 0, 0, 0, 0, 0, 0]


def test_a_step_without_a_prompts_part_needs_positions_only():
    eye = Eye(delta=2)
    _, inputs = prompt(eye)
    found = gather(eye.embed, mx.array([9, 8]), [Fed(inputs, 11, 11, 12), Fed(None, 3, 3, 4)])
    assert found.embeddings is None
    assert found.positions.tolist() == [[13, 3]] * 3
    assert eye.seen == []
