"""Prompts go to the engine that knows most of their beginning, unless it is busier than the others."""

from dataclasses import replace

from actors.contracts import ChatPrompt, TextPrompt, TokenPrompt, Tools
from omlx.replicas import Replicas, prefix_pieces

LONG = "You are a helpful assistant. " * 40


def chat(*contents):
    return ChatPrompt(tuple({"role": "user", "content": content} for content in contents))


def test_an_equal_load_is_spread():
    replicas = Replicas()
    chosen = [replicas.choose({"a": 0, "b": 0, "c": 0}, TextPrompt(str(number) * 300)) for number in range(6)]
    assert sorted(chosen) == ["a", "a", "b", "b", "c", "c"]


def test_an_unknown_prompt_goes_to_the_least_loaded():
    replicas = Replicas()
    assert {replicas.choose({"a": 2, "b": 1, "c": 3}, TextPrompt(LONG[number:])) for number in range(5)} == {"b"}


def test_what_is_no_prompt_goes_to_the_least_loaded_too_and_nothing_is_remembered_of_it():
    replicas = Replicas()
    assert {replicas.choose({"a": 2, "b": 1, "c": 3}, None) for _ in range(5)} == {"b"}
    assert sorted(replicas.choose({"a": 0, "b": 0}, None) for _ in range(4)) == ["a", "a", "b", "b"]
    assert not replicas._known


def test_a_conversation_goes_on_where_it_began():
    replicas = Replicas()
    first = replicas.choose({"a": 0, "b": 0}, chat(LONG, "Hi"))
    for turns in range(1, 5):
        assert replicas.choose({"a": 0, "b": 0}, chat(LONG, "Hi", *"x" * turns)) == first


def test_the_longest_known_beginning_wins():
    replicas = Replicas()
    replicas.choose({"a": 0, "b": 9}, TextPrompt(LONG + "one " * 100))
    replicas.choose({"a": 9, "b": 0}, TextPrompt(LONG + "two " * 100))
    assert replicas.choose({"a": 0, "b": 1}, TextPrompt(LONG + "two " * 100)) == "b"
    assert replicas.choose({"a": 1, "b": 0}, TextPrompt(LONG + "one " * 200)) == "a"


def test_an_engine_beyond_the_bound_is_passed_over_and_the_other_knows_the_prompt_then():
    replicas = Replicas()
    assert replicas.choose({"a": 0, "b": 5}, TextPrompt(LONG)) == "a"
    assert replicas.choose({"a": 8, "b": 4}, TextPrompt(LONG)) == "a"  # at most 1.5 times as many, and two
    assert replicas.choose({"a": 9, "b": 4}, TextPrompt(LONG)) == "b"
    assert replicas.choose({"a": 4, "b": 5}, TextPrompt(LONG)) == "a"
    assert replicas.choose({"a": 6, "b": 5}, TextPrompt(LONG)) == "b"


def test_an_engine_that_is_gone_is_not_chosen():
    replicas = Replicas()
    assert replicas.choose({"a": 0, "b": 1}, TextPrompt(LONG)) == "a"
    assert replicas.choose({"b": 1, "c": 0}, TextPrompt(LONG)) == "c"


def test_a_beginning_differs_with_whatever_comes_before_a_piece():
    same = "x" * 256
    assert prefix_pieces(TextPrompt("a" * 256 + same))[1] != prefix_pieces(TextPrompt("b" * 256 + same))[1]
    assert prefix_pieces(TextPrompt(same * 2))[0] == prefix_pieces(TextPrompt(same + "y"))[0]
    assert prefix_pieces(TextPrompt("short")) == []


def test_every_form_of_prompt_has_pieces_of_its_beginning():
    for short, long in (
        (chat(LONG), chat(LONG, "more")),
        (TextPrompt(LONG), TextPrompt(LONG + "more" * 100)),
        (TokenPrompt(tuple(range(500))), TokenPrompt(tuple(range(900)))),
    ):
        pieces = prefix_pieces(short)
        assert len(pieces) >= 3
        assert prefix_pieces(long)[: len(pieces) - 1] == pieces[:-1]
    names = ChatPrompt(({"content": LONG, "role": "user"},))
    assert prefix_pieces(names) == prefix_pieces(chat(LONG))  # the order of keys says nothing


def test_tools_come_first():
    tools = [Tools(({"type": "function", "function": {"name": name, "description": name + LONG}},)) for name in "fg"]
    f, g = (prefix_pieces(replace(chat("Hi"), tools=each)) for each in tools)
    assert f[0] != g[0]
    assert prefix_pieces(replace(chat("Hi", "more"), tools=tools[0]))[: len(f)] == f


def test_only_the_beginning_of_a_huge_prompt_is_looked_at():
    assert len(prefix_pieces(TextPrompt("x" * 10_000_000))) == 1024


def test_what_is_remembered_is_bounded_and_ends_are_forgotten_first():
    replicas = Replicas(kept_pieces=6)
    replicas.choose({"a": 0, "b": 1}, TextPrompt("a" * 1024))
    replicas.choose({"a": 1, "b": 0}, TextPrompt("b" * 1024))
    assert len(replicas._known) == 6
    assert replicas.choose({"a": 1, "b": 0}, TextPrompt("a" * 512)) == "a"
