"""What is on disk is listed in full: every model with its facts, every folder that was skipped with the reason."""

from pathlib import Path

from actors.control import Served
from actors.models import ModelInfo, ModelType, Skipped
from omlx.listing import align, document, table

SMALL = ModelInfo("small", Path("/m/small"), architecture="llama", size_bytes=93_000_000, context_length=8192, revision="r1")
LARGE = ModelInfo(
    "large", Path("/m/large"), ModelType.VLM, "qwen3_5", size_bytes=4_520_000_000, parameters=8, quantization="4-bit"
)
MODELS = (Served(LARGE, "large"), Served(SMALL, "small"))
SKIPPED = (Skipped(Path("/m/old"), "its weights are PyTorch's; convert them"),)


def test_a_table_has_a_line_for_each_model_and_the_reasons_of_the_skipped_below():
    heading, large, small, *rest = table(MODELS, SKIPPED)
    assert heading.split() == ["MODEL", "TYPE", "ARCHITECTURE", "SIZE", "QUANTIZATION", "CONTEXT", "PATH"]
    assert large.split() == ["large", "vlm", "qwen3_5", "4.5", "GB", "4-bit", "?", "/m/large"]
    assert small.split() == ["small", "llm", "llama", "93", "MB", "-", "8192", "/m/small"]
    assert large.index("/m/large") == small.index("/m/small") == heading.index("PATH")
    assert rest == ["", "Skipped:", "  /m/old: its weights are PyTorch's; convert them"]


def test_aliases_are_shown_where_there_are_any():
    heading, large, small = table((Served(LARGE, "large"), Served(SMALL, "tiny")), ())
    assert heading.split()[:3] == ["MODEL", "ALIAS", "TYPE"]
    assert small.split()[:3] == ["small", "tiny", "llm"]
    assert large.split()[:2] == ["large", "vlm"]


def test_nothing_found_is_an_empty_table_and_what_was_skipped_is_still_said():
    assert list(table((), ())) == []
    assert list(table((), SKIPPED))[-1].startswith("  /m/old: ")


def test_a_program_gets_everything_unrounded():
    written = document((Served(LARGE, "large"), Served(SMALL, "tiny")), SKIPPED)
    large, small = written["models"]
    assert small == {
        "id": "small",
        "alias": "tiny",
        "type": "llm",
        "architecture": "llama",
        "path": "/m/small",
        "size_bytes": 93_000_000,
        "parameters": None,
        "quantization": None,
        "context_length": 8192,
        "revision": "r1",
    }
    assert (large["alias"], large["type"], large["quantization"]) == (None, "vlm", "4-bit")
    assert written["skipped"] == [{"path": "/m/old", "reason": "its weights are PyTorch's; convert them"}]


def test_columns_stand_below_each_other_without_blanks_at_the_end():
    assert list(align([("a", "bbb"), ("cc", "d")])) == ["a   bbb", "cc  d"]
