"""The pacer learns a machine's speed from its steps, and keeps to what streams may be slowed down."""

import pytest

from scheduler.pace import StepPacer


class Machine:
    """Takes steps as long as its speed says, with as many prompt tokens as the pacer allows.

    Args:
        decode: Seconds to decode, by rows.
        each: Seconds for each prompt token.
    """

    def __init__(self, decode, each, max_stall=0.2):
        self.decode = decode
        self.each = each
        self.pacer = StepPacer(max_stall, largest=4096)

    def step(self, rows, *, prompts=True):
        """Take one step; its prompt tokens."""
        tokens = self.pacer.budget(rows) if prompts else 0
        seconds = (self.decode(rows) if rows else 0.0) + tokens * self.each
        self.pacer.observe(seconds, rows=rows, prompt_tokens=tokens)
        return tokens

    def steps(self, rows, count, *, prompts=True):
        return [self.step(rows, prompts=prompts) for _ in range(count)]


def machine(decode, each, **options):
    """One that has been used for a while, and takes as long whatever the rows."""
    used = Machine(lambda _rows: decode, each, **options)
    used.steps(8, 20, prompts=False)
    used.steps(8, 30)
    return used


@pytest.mark.parametrize(
    ("speed", "tokens"),
    [
        ((0.04, 0.001), 50),  # two and a quarter times 40 ms
        ((0.1, 0.001), 100),  # two and a quarter times would be more than is allowed
        ((0.002, 0.001), 23),  # an eighth of what is allowed
        ((0.3, 0.001), 8),  # nothing is left
    ],
)
def test_the_budget_follows_the_machine(speed, tokens):
    assert machine(*speed).pacer.budget(8) == pytest.approx(tokens, rel=0.05)


def test_a_prompts_short_last_chunk_says_little_of_what_tokens_cost():
    pacer = machine(0.006, 0.00001).pacer
    before = pacer.budget(8)
    pacer.observe(0.006 + 0.004, rows=8, prompt_tokens=3)
    assert pacer.budget(8) > 0.8 * before


def test_a_step_with_prompts_that_took_long_for_once_is_forgotten_soon():
    used = machine(0.04, 0.001)
    used.pacer.observe(9.0, rows=8, prompt_tokens=60)
    assert used.steps(8, 12)[-1] == pytest.approx(50, rel=0.2)
    assert used.steps(0, 5)[-1] == pytest.approx(500, rel=0.2)


def test_a_step_without_prompts_that_took_long_for_once_changes_nothing():
    used = machine(0.04, 0.001)
    used.steps(8, 3, prompts=False)
    used.pacer.observe(0.6, rows=8, prompt_tokens=0)
    assert used.pacer.budget(8) == pytest.approx(50, rel=0.05)


def test_prompts_without_a_pause_leave_a_step_now_and_then_to_measure_decoding():
    used = machine(0.04, 0.001)
    used.decode = lambda _rows: 0.02  # it got faster meanwhile
    fed = used.steps(8, 200)
    assert 4 <= fed.count(0) <= 7
    assert fed[-1] == pytest.approx(25, rel=0.1)  # two and a quarter times 20 ms


def test_other_rows_are_measured_soon_and_only_once():
    used = Machine(lambda rows: 0.01 * rows, 0.001, max_stall=1.0)
    used.steps(2, 10, prompts=False)
    assert 0 not in used.steps(8, 2)  # a short prompt doesn't wait for it
    assert used.pacer.budget(8) == 0
    assert used.pacer.budget(8) > 0  # the next plan is made before the result is there
    used.pacer.observe(0.08, rows=8, prompt_tokens=0)
    assert used.steps(8, 20)[-1] == pytest.approx(100, rel=0.1)  # one and a quarter times 80 ms
    assert 0 not in used.steps(9, 5)  # about as many


def test_a_hiccup_in_the_first_step_of_more_rows_is_not_taken_for_their_cost():
    used = Machine(lambda rows: 0.01 * rows, 0.001, max_stall=1.0)
    used.steps(4, 10, prompts=False)
    used.steps(8, 2)
    assert used.pacer.budget(8) == 0
    used.pacer.observe(5.0, rows=8, prompt_tokens=0)
    assert used.pacer.budget(8) <= 125  # at most as if they cost in proportion
