"""What a process takes grows with what it holds, and is given back with it."""

import mmap

from actors.engine.memory import process_bytes

SIZE = 32_000_000


def test_memory_counts_once_it_is_used_and_no_longer_than_it_is_held():
    before = process_bytes()
    held = mmap.mmap(-1, SIZE)
    reserved = process_bytes()
    for page in range(0, SIZE, mmap.PAGESIZE):
        held[page] = 1
    used = process_bytes()
    held.close()
    after = process_bytes()
    assert before > 1_000_000
    assert reserved - before < SIZE / 4
    assert SIZE * 0.9 < used - before < SIZE * 1.5
    assert after - before < SIZE / 4
