"""docs/logs.md has every field of a log line, with its type."""

import json
import logging
import re
import sys
from pathlib import Path

from actors.contracts import Usage
from actors.log_lines import line_format
from omlx.record import RequestRecord
from omlx.request_log import request_fields

PAGE = (Path(__file__).parents[2] / "docs/logs.md").read_text("utf-8")
TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def rows(after):
    """Field and type of each row of the first table after a line."""
    table = re.search(r"\| field .*?(?=\n\n)", PAGE[PAGE.index(after) :], re.DOTALL)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE))


def types(fields):
    return {name: TYPES[type(value)] for name, value in fields.items()}


def test_what_every_line_has_is_documented():
    try:
        raise KeyError
    except KeyError:
        failed = logging.LogRecord("omlx", logging.ERROR, "", 1, "no", (), sys.exc_info())
    line = json.loads(line_format("json").format(failed))
    exception = line.pop("exception")
    assert rows("Every line has these") == types(line)
    assert rows("These stand where they apply") == types({"exception": exception, "request_id": "req_1"})


def test_every_field_of_a_request_s_line_is_documented_in_its_order():
    record = RequestRecord(
        request_id="req_1",
        method="POST",
        received=0.0,
        received_at=0.0,
        key_name="laptop",
        status=200,
        ended=3.0,
        error="engine_died",
        model_id="tiny",
        for_model=True,
        is_generation=True,
        stream=True,
        answer_id="chatcmpl-1",
        prompt_tokens=5,
        completion_tokens=3,
        first_token=1.0,
        last_token=2.0,
        finish_reason="error",
        usage=Usage(5, 3),
    )
    assert list(rows("## A request's line").items()) == list(types(request_fields(record)).items())


def test_the_example_has_what_an_answer_s_line_has():
    example = json.loads(re.search(r"^\{.*\}$", PAGE, re.MULTILINE)[0])
    documented = rows("Every line has these") | rows("## A request's line")
    assert types(example) == {name: type_ for name, type_ in documented.items() if name != "error"}
    assert example["message"] in PAGE.partition("## JSON")[0]
