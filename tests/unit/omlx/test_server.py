"""What a person is told to type at the start can be typed."""

import asyncio
import logging
import socket
from pathlib import Path

from actors.control import Served
from actors.models import ModelInfo, ModelType
from omlx.server import _example, _listen, _say_what_is_served


def served(name, type_=ModelType.LLM, **more):
    return Served(ModelInfo(f"{name}-folder", Path("/m") / name, type_), name, **more)


def test_the_example_names_a_model_to_chat_with_as_clients_see_it():
    assert _example([served("bert", ModelType.EMBEDDING), served("first"), served("second")]) == "first"
    assert _example([served("first"), served("sight", ModelType.VLM, is_default=True)]) == "sight"


def test_without_a_model_to_chat_with_the_example_names_the_demo_model():
    assert _example([]) == _example([served("bert", ModelType.EMBEDDING)]) == "SmolLM2-135M-Instruct"


def test_the_start_says_how_many_models_there_are_and_leaves_hidden_ones_out(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _say_what_is_served([served("secret", is_hidden=True), served("open")], listener, "text")
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    said = capsys.readouterr().err
    assert f"serves 1 model on {address}." in said
    assert '"model": "open"' in said
    assert "secret" not in said


def test_programs_are_told_of_the_start_in_a_line_like_the_others(capsys, caplog):
    with socket.create_server(("127.0.0.1", 0)) as listener, caplog.at_level(logging.INFO, "omlx"):
        _say_what_is_served([served("open")], listener, "json")
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    assert capsys.readouterr().err == ""
    (line,) = caplog.records
    assert (line.message, line.url, line.models) == ("serving", address, 1)


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
