"""What the server and uvicorn log goes to standard error and to a file, in one format, with the request that it is about."""

import asyncio
import json
import logging

import pytest

from actors.logs import LogConfig
from omlx.logs import configure_logging, keep_lines
from omlx.record import RequestRecord
from omlx.request_log import RequestLog

LOGGERS = ("", "omlx", "actors", "uvicorn.error")


@pytest.fixture(autouse=True)
def loggers():
    """Gives the loggers back as they were."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    handlers = logging.getLogger().handlers[:]
    logging.getLogger().handlers = []
    yield
    logging.captureWarnings(False)
    for handler in logging.getLogger().handlers:
        handler.close()
    logging.getLogger().handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def in_a_request(log):
    async def handle():
        RequestLog().began(RequestRecord("req_1", "GET", 0.0, 0.0))
        log()

    asyncio.run(handle())


def test_text_is_short_and_has_the_request(capsys):
    configure_logging("info")
    logging.getLogger("omlx.server").info("starting")
    in_a_request(lambda: logging.getLogger("omlx.api").info("done"))
    first, second = capsys.readouterr().err.splitlines()
    assert first[8:] == " INFO    starting"
    assert second[8:] == " INFO    req_1 done"


def test_uvicorn_s_lines_are_json_too_and_belong_to_requests(capsys):
    configure_logging("info", "json")
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[36mStarted"})
    in_a_request(lambda: logging.getLogger("uvicorn.error").error("Exception in ASGI application\n"))
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["logger"], first["message"], set(first)) == ("uvicorn.error", "Started", {"time", "level", "logger", "message"})
    assert (second["message"], second["request_id"]) == ("Exception in ASGI application", "req_1")


def test_a_record_that_names_its_request_keeps_it(capsys):
    configure_logging("info", "json")
    in_a_request(lambda: logging.getLogger("omlx.api").error("no", extra={"request_id": "req_2"}))
    assert json.loads(capsys.readouterr().err)["request_id"] == "req_2"


def test_other_libraries_are_heard_from_warnings_up(capsys):
    configure_logging("debug")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    logging.getLogger("omlx.api").debug("detail")
    assert [line[9:] for line in capsys.readouterr().err.splitlines()] == ["WARNING trouble", "DEBUG   detail"]


def test_a_file_has_the_same_lines_with_their_dates(capsys, tmp_path):
    configure_logging("warning")
    keep_lines(LogConfig(tmp_path / "logs", "warning"), "server")
    logging.getLogger("omlx.api").info("detail")
    in_a_request(lambda: logging.getLogger("omlx.api").warning("trouble"))
    (shown,) = capsys.readouterr().err.splitlines()
    (kept,) = (tmp_path / "logs/server.log").read_text().splitlines()
    assert shown[9:] == kept[24:] == "WARNING req_1 trouble"


def test_a_file_is_json_where_the_lines_are(capsys, tmp_path):
    configure_logging("info", "json")
    keep_lines(LogConfig(tmp_path, format="json"), "server")
    in_a_request(lambda: logging.getLogger("uvicorn.error").error("trouble"))
    assert (tmp_path / "server.log").read_text() == capsys.readouterr().err


def test_a_place_that_can_t_be_written_costs_one_warning(capsys, tmp_path):
    (tmp_path / "logs").write_text("no folder")
    configure_logging("info")
    keep_lines(LogConfig(tmp_path / "logs"), "server")
    logging.getLogger("omlx.server").info("starting")
    warning, line = capsys.readouterr().err.splitlines()
    assert warning[9:].startswith("WARNING no log lines are kept, as ")
    assert line[9:] == "INFO    starting"
