"""mlx-lm's bare `BatchGenerator` behind the thinnest HTTP front: what a server can get out of it at the most.

    python -m benchmarks.batch_generator_server MODEL_FOLDER PORT BATCH

A process runs it and does nothing else between its steps than take new prompts and send the tokens away.
"""

from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.thin_server import Ask, Token, serve


def generate(folder: Path, size: int, work: "Connection[list[Token] | None, Ask]") -> None:
    """Insert what comes, and step while there is work."""
    from mlx_lm import load
    from mlx_lm.generate import BatchGenerator, StopSequences

    model, tokenizer = load(str(folder))
    generator = BatchGenerator(model, stop_tokens=[[token] for token in tokenizer.eos_token_ids], completion_batch_size=size)
    endless = [StopSequences()]
    numbers: dict[int, int] = {}
    work.send(None)
    while True:
        while not numbers or work.poll():
            ask = work.recv()
            (uid,) = generator.insert([list(ask.prompt)], [ask.max_tokens], stop_sequences=endless if ask.ignore_eos else None)
            numbers[uid] = ask.number
        responses = generator.next()[1]
        if responses:
            work.send([(numbers[response.uid], response.token, response.finish_reason) for response in responses])
        for response in responses:
            if response.finish_reason is not None:
                del numbers[response.uid]


if __name__ == "__main__":
    serve(generate)
