"""A model is refused whose logits for a whole prompt aren't those for one that its pictures are put into."""

import mlx.core as mx
import pytest

from scheduler.mlx.head import LastPosition
from scheduler.mlx.pictures import Picture, PictureFeatures, PicturePrompt
from scheduler.mlx.prompt_inputs import Features
from scheduler.mlx.vision_check import check_pictures
from scheduler.mlx.vision_language import UnsupportedVisionError

PICTURE = 7
TOKENS = (1, 2, PICTURE, PICTURE, PICTURE, 3, PICTURE, PICTURE, 4, 5)
PICTURES = ((2, Picture(b"one", (PICTURE,) * 3, {"shade": [0.5]})), (6, Picture(b"two", (PICTURE,) * 2, {"shade": [0.9]})))


class Sum:
    """What a sequence's embeddings come to so far."""

    def __init__(self):
        self.total = mx.zeros((1, 4))


class Summing:
    """A model whose logits are the sum of the embeddings up to a token."""

    rotates = False

    def __init__(self):
        self.table = mx.random.normal((8, 4), key=mx.random.key(0))

    def make_cache(self):
        return [Sum()]

    def embed(self, tokens):
        return self.table[tokens]

    def see(self, token_ids, inputs):
        return Features(mx.sin(mx.arange(4) * inputs["shade"][0])[None] + mx.zeros((len(token_ids), 1)))

    def places(self, token_ids, pictures):
        return None, 0

    def __call__(self, inputs, cache, features=None):
        known = features is not None and features.embeddings is not None
        embeddings = features.embeddings if known else self.embed(inputs[0])
        sums = cache[0].total + mx.cumsum(embeddings, axis=0)
        cache[0].total = sums[-1:]
        return sums[None]

    def embed_all(self):
        embeddings = self.embed(mx.array(TOKENS))
        for first, picture in PICTURES:
            seen = self.see(picture.token_ids, {"shade": mx.array(picture.inputs["shade"])}).embeddings
            embeddings[first : first + len(seen)] = seen
        return embeddings

    def whole(self, _inputs):
        return mx.cumsum(self.embed_all(), axis=0)


class BothWays(Summing):
    """A picture's tokens see all of it."""

    def whole(self, inputs):
        sums = super().whole(inputs)
        sums[2:5] = sums[4:5]
        return sums


class Aware(Summing):
    """The second picture's features depend on the first's."""

    def whole(self, _inputs):
        embeddings = self.embed_all()
        embeddings[6:8] = embeddings[6:8] * 1.1
        return mx.cumsum(embeddings, axis=0)


class Answering(Summing):
    """Something besides the tokens counts for an answer."""

    def whole(self, inputs):
        sums = super().whole(inputs)
        sums[-1] = sums[-1] + 0.1
        return sums


class Looking(Summing):
    """Its head looks at the places that it is told."""

    def __init__(self):
        super().__init__()
        self.head = LastPosition(lambda hidden: hidden)

    def whole(self, inputs):
        assert self.head.places is not None
        return self.head(super().whole(inputs)[None])[0]


def check(model, head=None):
    prompt = PicturePrompt(PictureFeatures(model, 1 << 20), TOKENS, PICTURES)
    check_pictures(model, head, [-1 if token == PICTURE else token for token in TOKENS], prompt, {})


def test_a_model_is_fine_whose_pictures_stand_for_their_own_tokens():
    check(Summing())


def test_a_head_computes_no_more_logits_of_the_whole_than_are_compared():
    model = Looking()
    check(model, model.head)
    assert model.head.places is None


@pytest.mark.parametrize("model", [BothWays, Aware, Answering])
def test_one_is_refused_that_has_other_logits_for_the_whole(model):
    with pytest.raises(UnsupportedVisionError, match="other logits"):
        check(model())
