"""A setting takes the values of its form and no others, from JSON and from a command line."""

import math
import pickle

import pytest

from actors.errors import InvalidSettingError
from actors.setting import Effect, Form, Setting, memory_bytes


def setting(form, **bounds):
    return Setting("it", form, "Help.", Effect.REQUEST, **bounds)


TOTAL = 10_000
DEEP = {}
for _ in range(300):
    DEEP = {"in": DEEP}

TAKEN = [
    (setting(Form.INTEGER, least=-1, most=9), [-1, 0, 9]),
    (setting(Form.NUMBER, least=0, most=2), [0, 0.0, 2, 1.5, 2.0]),
    (setting(Form.NUMBER, above=0, most=1), [1, 1e-9]),
    (setting(Form.BOOLEAN), [True, False]),
    (setting(Form.TEXT), ["a", " a ", "{{ x }}\n", "é"]),
    (setting(Form.NAME), ["a", "org/Name-4bit", "gpt-4.1", "模型", "x" * 128, "a:b@c"]),
    (setting(Form.TEXTS, most=2), [[], ["\n"], ["a", "b"]]),
    (setting(Form.OBJECT), [{}, {"a": {"b": [1, None, 2.5, "x", True]}}]),
    (setting(Form.CHOICE, choices=("a", "b")), ["a", "b"]),
    (setting(Form.MEMORY), [1, 1 << 40, "12GB", "512MiB", "60%", "0.5 %", "100%", "1.5 tib", "800000000000B"]),
    (setting(Form.URL), ["http://127.0.0.1:4318", "https://otlp.example.com/otlp/", "HTTP://[::1]:4318", "http://collector"]),
]
REFUSED = [
    (setting(Form.INTEGER, least=-1, most=9), [-2, 10, 3.0, "3", True, math.nan, [], 10**400]),
    (setting(Form.NUMBER, least=0, most=2), [-0.1, 2.01, "1", True, math.nan, math.inf, -math.inf, 10**400, {}]),
    (setting(Form.NUMBER, above=0, most=1), [0, 0.0, 1.1]),
    (setting(Form.NUMBER), [math.nan, math.inf]),
    (setting(Form.BOOLEAN), [0, 1, "true", []]),
    (setting(Form.TEXT), ["", "  \n", 1, b"a", ["a"], "\ud800"]),
    (
        setting(Form.NAME),
        ["", "a b", "a\n", "a\tb", "\x00", "/a", "a/", ".a", "a..b", "../a", "x" * 129, "a\u00a0b", "a\u200bb", 1, "\ud800"],
    ),
    (setting(Form.TEXTS, most=2), ["", [""], ["a", 1], ["a", "b", "c"], ("a",), {"a": 1}, 5]),
    (
        setting(Form.OBJECT),
        [[], "{}", {1: 2}, {"a": {1: 2}}, {"a": math.nan}, {"a": 1 << 65}, {"a": "\ud800"}, {"a": (1,)}, DEEP],
    ),
    (setting(Form.CHOICE, choices=("a", "b")), ["c", "", "A", 1, ["a"]]),
    (
        setting(Form.MEMORY),
        [0, -1, 1.5, True, 1 << 63, "", "12", "0%", "101%", "-5%", "GB", "12 QB", "1e9B", "0.1B", "9999999TB", "٣GB"],
    ),
    (
        setting(Form.URL),
        [
            *(
                "",
                1,
                "127.0.0.1:4318",
                "localhost:4318",
                "grpc://a:4317",
                "http:/a",
                "http://",
                "http://:4318",
                "http://a:0",
                "http://a:b",
            ),
            *(
                "http://a:65536",
                "http://me:secret@a",
                "http://a?b",
                "http://a?",
                "http://a#b",
                "http://a b",
                " http://a",
                "http://[a",
                "http://a\n",
            ),
        ],
    ),
]


def cases(table):
    return [pytest.param(one, value, id=f"{one.form}-{str(value)[:20]!r}") for one, values in table for value in values]


@pytest.mark.parametrize(("one", "value"), cases(TAKEN))
def test_a_value_of_the_form_is_kept_as_it_is(one, value):
    assert one.check(value) is value


@pytest.mark.parametrize(("one", "value"), cases(REFUSED))
def test_another_value_is_refused_with_the_name_and_what_it_takes(one, value):
    with pytest.raises(InvalidSettingError) as refusal:
        one.check(value)
    assert str(refusal.value).startswith(f"'it' takes {one.takes}, not ")
    assert len(str(refusal.value)) < 300
    assert pickle.loads(pickle.dumps(refusal.value)).name == "it"


@pytest.mark.parametrize("form", Form)
def test_nothing_is_always_taken(form):
    assert setting(form).check(None) is None
    assert setting(form).parse("null") is None
    assert setting(form).parse(" None ") is None


def test_one_text_is_a_list_of_one():
    assert setting(Form.TEXTS, most=2).check("\n") == ["\n"]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (setting(Form.INTEGER, least=1, most=9), "an integer from 1 to 9"),
        (setting(Form.NUMBER, above=0, most=1), "a number above 0 and up to 1"),
        (setting(Form.BOOLEAN), "true or false"),
        (setting(Form.TEXTS), "a text or a list of texts"),
        (setting(Form.TEXTS, most=16), "a text or a list of texts, at most 16"),
        (setting(Form.CHOICE, choices=("a", "b")), "one of a, b"),
    ],
)
def test_it_says_what_it_takes(one, words):
    assert one.takes == words


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (Form.INTEGER, "-7", -7),
        (Form.INTEGER, " 12 ", 12),
        (Form.NUMBER, "0.7", 0.7),
        (Form.NUMBER, "1e-3", 0.001),
        (Form.NUMBER, "2", 2),
        (Form.BOOLEAN, "true", True),
        (Form.BOOLEAN, "Off", False),
        (Form.BOOLEAN, "1", True),
        (Form.TEXT, " as it stands ", " as it stands "),
        (Form.NAME, " qwen ", "qwen"),
        (Form.TEXTS, "one", ["one"]),
        (Form.TEXTS, '["a", "b"]', ["a", "b"]),
        (Form.TEXTS, "[]", []),
        (Form.TEXTS, "[INST]", ["[INST]"]),
        (Form.OBJECT, '{"enable_thinking": false}', {"enable_thinking": False}),
        (Form.CHOICE, "b", "b"),
        (Form.MEMORY, "1024", 1024),
        (Form.MEMORY, "60%", "60%"),
    ],
)
def test_a_command_line_says_values_as_texts(form, text, value):
    parsed = setting(form, choices=("a", "b") if form is Form.CHOICE else ()).parse(text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Form.INTEGER, "3.0"),
        (Form.INTEGER, "9" * 5000),
        (Form.NUMBER, "nan"),
        (Form.NUMBER, "inf"),
        (Form.NUMBER, "hot"),
        (Form.BOOLEAN, "maybe"),
        (Form.TEXTS, '["a"'),
        (Form.TEXTS, '["a", 1]'),
        (Form.OBJECT, "{"),
        (Form.OBJECT, '{"a": NaN}'),
        (Form.OBJECT, "[" * 100_000),
        (Form.MEMORY, "0"),
        (Form.MEMORY, "lots"),
        (Form.CHOICE, "z"),
        (Form.NAME, "a b"),
    ],
)
def test_a_text_that_stands_for_no_value_is_refused(form, text):
    with pytest.raises(InvalidSettingError, match="'it' takes"):
        setting(form, choices=("a", "b") if form is Form.CHOICE else ()).parse(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ("12GB", 12 * 10**9),
        ("512MiB", 512 << 20),
        ("1.5 kb", 1500),
        ("7B", 7),
        ("60%", 6000),
        ("0.5%", 50),
        ("2tib", 2 << 40),
    ],
)
def test_memory_comes_to_bytes(value, expected):
    assert memory_bytes(value, TOTAL) == expected


def test_what_is_no_memory_comes_to_no_bytes():
    with pytest.raises(ValueError, match="not an amount of memory: 'lots'"):
        memory_bytes("lots", TOTAL)
