"""Texts become rows of tokens, and a bad one is named."""

import pytest

from actors.contracts import EmbedJob, RerankJob, TextPrompt, TokenPrompt
from actors.engine.encoder_text import Pairs, Questions, Texts
from actors.errors import ContextLengthError, InvalidJobError

BEGIN, END = 1, 2


class WordTokenizer:
    """A token a word, its length in letters plus 10; with a beginning and an end, which cutting leaves there."""

    def __call__(self, texts, pairs=None, *, truncation=False, max_length=None, add_special_tokens=True, **options):
        ids, kinds = [], []
        for text, pair in zip(texts, pairs or [None] * len(texts), strict=True):
            first, second = ([10 + len(word) for word in (each or "").split()] for each in (text, pair))
            special = (1, 1, pair is not None) if add_special_tokens else (0, 0, 0)
            while truncation and len(first) + len(second) + sum(special) > max_length:
                (first if len(first) > len(second) else second).pop()
            first, second = [BEGIN] * special[0] + first + [END] * special[1], second + [END] * special[2]
            ids.append(first + second)
            kinds.append([0] * len(first) + [1] * len(second))
        return {"input_ids": ids} | ({"token_type_ids": kinds} if options.get("return_token_type_ids") else {})


def texts(*inputs, **options):
    return EmbedJob("a", tuple(TextPrompt(each) if isinstance(each, str) else TokenPrompt(each) for each in inputs), **options)


def test_texts_have_the_prefix_and_token_ids_stand_as_they_are():
    job = texts("a bb", (7, 8), "ccc", dimensions=5)
    rows = Texts(WordTokenizer(), 10, 100, "to embed: ").read(job, 0, 3)
    assert [list(row.tokens) for row in rows] == [[1, 12, 16, 11, 12, 2], [7, 8], [1, 12, 16, 13, 2]]
    assert {row.dimensions for row in rows} == {5}
    assert [list(row.tokens) for row in Texts(WordTokenizer(), 10, 100).read(job, 2, 3)] == [[1, 13, 2]]


def test_what_is_too_long_is_refused_by_its_place_or_cut_where_that_is_asked_for():
    reader = Texts(WordTokenizer(), 4, 100)
    with pytest.raises(ContextLengthError, match=r"at most 4 tokens, and 'input\.1' has 5") as caught:
        reader.read(texts("a", "a b c"), 0, 2)
    assert (caught.value.prompt_tokens, caught.value.context_length, caught.value.param) == (5, 4, "input.1")
    with pytest.raises(ContextLengthError, match="'input' has 5"):
        reader.read(texts("a b c"), 0, 1)
    cut = reader.read(texts("a b c", (1, 2, 3, 4, 5), truncate=True), 0, 2)
    assert [list(row.tokens) for row in cut] == [[1, 11, 11, 2], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("inputs", "param", "message"),
    [
        (("",), "input", "is empty"),
        (("a", ""), "input.1", "is empty"),
        (("a", ()), "input.1", "is empty"),
        (((3, 100),), "input", "no token 100"),
        (((-1,), "a"), "input.0", "no token -1"),
        (("a", "half \ud800"), "input.1", "surrogate"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(inputs, param, message):
    job = texts(*inputs)
    with pytest.raises(InvalidJobError, match=message) as caught:
        Texts(WordTokenizer(), 10, 100).read(job, 0, len(inputs))
    assert caught.value.param == param


def test_places_are_the_jobs_own_in_later_parts():
    with pytest.raises(InvalidJobError) as caught:
        Texts(WordTokenizer(), 10, 100).read(texts("a", "b", "c", ""), 2, 4)
    assert caught.value.param == "input.3"


def test_pairs_tell_which_text_a_token_is_of_where_the_model_wants_to_know():
    job = RerankJob("a", "query", ("a bb", "ccc"))
    first, second = Pairs(WordTokenizer(), 10, segments=True).read(job, 0, 2)
    assert (list(first.tokens), list(first.segments)) == ([1, 15, 2, 11, 12, 2], [0, 0, 0, 1, 1, 1])
    assert list(second.tokens) == [1, 15, 2, 13, 2]
    (plain,) = Pairs(WordTokenizer(), 10, segments=False).read(job, 1, 2)
    assert not plain.segments


def test_a_document_that_is_too_long_is_cut_unless_that_is_not_wanted():
    long = ("a", "a b c d e f")
    _, cut = Pairs(WordTokenizer(), 6, segments=True).read(RerankJob("a", "query", long), 0, 2)
    assert (len(cut.tokens), len(cut.segments), cut.tokens[-1]) == (6, 6, END)
    with pytest.raises(ContextLengthError) as caught:
        Pairs(WordTokenizer(), 6, segments=True).read(RerankJob("a", "query", long, truncate=False), 0, 2)
    assert caught.value.param == "documents.1"


def test_a_question_keeps_its_beginning_and_its_end_whatever_is_cut():
    reader = Questions(WordTokenizer(), 70)
    short, long = reader.read(RerankJob("a", "query", ("one", "word " * 100)), 0, 2)
    assert long.tokens[-4:] == short.tokens[-4:]
    assert long.tokens[:40] == short.tokens[:40]
    assert len(long.tokens) == 70
    with pytest.raises(ContextLengthError):
        reader.read(RerankJob("a", "query", ("word " * 100,), truncate=False), 0, 1)


@pytest.mark.parametrize(("query", "documents", "param"), [("", ("a",), "query"), ("q", ("a", ""), "documents.1")])
def test_an_empty_query_or_document_is_refused(query, documents, param):
    for reader in (Pairs(WordTokenizer(), 9, segments=False), Questions(WordTokenizer(), 90)):
        with pytest.raises(InvalidJobError, match="is empty") as caught:
            reader.read(RerankJob("a", query, documents), 0, len(documents))
        assert caught.value.param == param
