"""What a person is told at the start: what to type, and what is missing for what was asked."""

import asyncio
import logging
import socket
import sys
from pathlib import Path

import pytest

from actors.control import Served
from actors.models import ModelInfo, ModelType
from actors.runtime import _worker_environment
from omlx.access.access_file import AccessFile
from omlx.access.errors import AccessFileError
from omlx.server import ServerError, _access, _example, _listen, _name_hub, _say_what_is_served, _telemetry, serve
from omlx.settings import decide
from tests.fakes.collector import collector, drained, values
from tests.fakes.records import chatted


def served(name, type_=ModelType.LLM, **more):
    return Served(ModelInfo(f"{name}-folder", Path("/m") / name, type_), name, **more)


def test_the_example_names_a_model_to_chat_with_as_clients_see_it():
    assert _example([served("bert", ModelType.EMBEDDING), served("first"), served("second")]) == "first"
    assert _example([served("first"), served("sight", ModelType.VLM, is_default=True)]) == "sight"


def test_without_a_model_to_chat_with_the_example_names_the_demo_model():
    assert _example([]) == _example([served("bert", ModelType.EMBEDDING)]) == "SmolLM2-135M-Instruct"


def test_the_start_says_how_many_models_there_are_and_leaves_hidden_ones_out(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _say_what_is_served([served("secret", is_hidden=True), served("open")], listener, "text", needs_key=False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    said = capsys.readouterr().err
    assert f"serves 1 model on {address}." in said
    assert '"model": "open"' in said
    assert "secret" not in said


def test_where_a_key_is_needed_the_example_has_a_place_for_it(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _say_what_is_served([served("open")], listener, "text", needs_key=True)
    said = capsys.readouterr().err
    assert "-H 'Authorization: Bearer KEY' -d" in said
    assert 'api_key="KEY"' in said


def test_programs_are_told_of_the_start_in_a_line_like_the_others(capsys, caplog):
    with socket.create_server(("127.0.0.1", 0)) as listener, caplog.at_level(logging.INFO, "omlx"):
        _say_what_is_served([served("open")], listener, "json", needs_key=False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    assert capsys.readouterr().err == ""
    (line,) = caplog.records
    assert (line.message, line.url, line.models) == ("serving", address, 1)


def settings(tmp_path, **given):
    return decide(tmp_path / "base", given, {}, tmp_path / "cache")


def test_packages_that_are_missing_for_a_collector_are_said_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "omlx.telemetry.export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ServerError, match=r"missing: opentelemetry\.exporter\..*pip install 'omlx\[otel\]'"):
        serve(settings(tmp_path, otlp_endpoint="http://127.0.0.1:4318"))
    assert not (tmp_path / "base").exists()


def test_without_a_collector_nothing_is_exported(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert _telemetry(settings(tmp_path), listener) is None


def test_a_collector_is_told_where_the_server_really_listens(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with collector() as there, socket.create_server(("127.0.0.1", 0)) as listener:
        export = _telemetry(settings(tmp_path, otlp_endpoint=there.url, port=0), listener)
        export.observer.ended(chatted())
        export.end()
        export.join()
        port = listener.getsockname()[1]
    assert {values(span.attributes).get("server.port") for _, span in drained(there.spans)} == {None, port}


def test_what_the_environment_gets_wrong_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ServerError, match="max_queue_size"):
        _telemetry(settings(tmp_path, otlp_endpoint="http://127.0.0.1:4318"), listener)


def test_an_answer_in_two_parts_is_sent_at_once():
    async def test():
        told = asyncio.get_running_loop().create_future()

        async def answer(_reader, writer):
            told.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(answer, sock=_listen("127.0.0.1", 0)) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await told
            writer.close()

    asyncio.run(asyncio.wait_for(test(), 10))


def test_the_engines_libraries_ask_the_hub_that_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "https://before.example")
    _name_hub(settings(tmp_path))
    assert _worker_environment()["HF_ENDPOINT"] == "https://before.example"
    _name_hub(settings(tmp_path, hf_endpoint="https://mirror.example/"))
    assert _worker_environment()["HF_ENDPOINT"] == "https://mirror.example"
    monkeypatch.delenv("HF_ENDPOINT")
    assert "HF_ENDPOINT" not in _worker_environment()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"])  # noqa: S104 - nothing listens there
def test_listening_for_other_machines_needs_a_key_and_an_administrator(host, tmp_path):
    settings = decide(tmp_path, {"host": host, "port": 0}, {}, tmp_path / "hf")
    file = AccessFile(tmp_path)
    with pytest.raises(ServerError, match=r"a key is needed.*--api-key.*omlx key add NAME --admin"):
        serve(settings)
    file.set_password("scrypt$…")
    with pytest.raises(ServerError, match="a key is needed"):
        serve(settings)
    file.set_password(None)
    key, _ = file.add_key("laptop")
    with pytest.raises(ServerError, match=r"needs a password: `omlx password set`"):
        serve(settings)
    file.revoke_key(key.key_id)
    with pytest.raises(ServerError, match="a key is needed"):
        serve(settings)
    assert _access(settings, "sesame-sesame").is_exposed
    file.add_key("me", is_admin=True)
    assert _access(settings, None).is_exposed


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_this_machine_alone_no_key_is_needed(host, tmp_path):
    settings = decide(tmp_path, {"host": host, "port": 0}, {}, tmp_path / "hf")
    access = _access(settings, None)
    assert not access.is_exposed
    assert not access.needs_key(access.file.kept())


def test_a_broken_file_of_keys_keeps_the_server_from_starting(tmp_path):
    (tmp_path / "access.json").write_text("{")
    with pytest.raises(AccessFileError, match="is broken"):
        serve(decide(tmp_path, {"port": 0}, {}, tmp_path / "hf"))
