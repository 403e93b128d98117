"""The thin front streams what another process generates; here that is a thread with an echo for a model."""

import asyncio
import threading
from contextlib import suppress
from multiprocessing import Pipe

from benchmarks.client import chat, greedy
from benchmarks.static_server import run_batch
from benchmarks.thin_server import Ask, Front
from tests.fakes.model import ByteTokenizer, echo_backend, model_info


def ask_front(*bodies):
    """The answers to some chats, by a front and batches of as many."""
    here, there = Pipe()

    def work():
        with suppress(EOFError):
            run_batch(echo_backend(model_info()), [there.recv() for _ in bodies], there)

    async def test():
        server = await Front(ByteTokenizer(), here).listen(0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            return await asyncio.gather(*(chat(url, body) for body in bodies))
        finally:
            asyncio.get_running_loop().remove_reader(here.fileno())
            server.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        return asyncio.run(test())
    finally:
        here.close()
        thread.join()
        there.close()


def test_answers_are_streamed_token_by_token_with_their_usage():
    whole, cut = ask_front(greedy("m", "héllo", 20), greedy("m", "goodbye", 4))
    assert (whole.text, whole.error, whole.prompt_tokens, whole.completion_tokens) == ("héllo", None, 6, 7)
    assert (cut.text, cut.error, cut.prompt_tokens, cut.completion_tokens) == ("good", None, 7, 4)
    assert len(cut.arrivals) == 4


def test_the_end_token_can_be_ignored():
    (answer,) = ask_front(greedy("m", "hi", 5, ignore_eos=True))
    assert (answer.text, answer.completion_tokens) == ("hi", 5)


def test_a_batch_is_answered_in_messages_a_step():
    here, there = Pipe()
    run_batch(echo_backend(model_info()), [Ask(7, (1, 2), 2, ignore_eos=False), Ask(8, (3,), 9, ignore_eos=False)], there)
    steps = [here.recv(), here.recv()]
    assert sorted(token for step in steps for token in step) == [(7, 1, None), (7, 2, "length"), (8, 3, None), (8, 256, "stop")]
    here.close()
    there.close()
