"""Percentiles, and what a run's answers add up to."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.client import Measured


@dataclass(frozen=True, slots=True)
class Slo:
    """What a user is content with.

    Attributes:
        ttft: The most seconds to the first text.
        itl: The most seconds that a gap between two pieces of an answer may last on average.
    """

    ttft: float = 3.0
    itl: float = 0.3

    def is_met(self, answer: Measured) -> bool:
        """Whether an answer came, and soon enough."""
        if answer.error is not None or not answer.arrivals:
            return False
        gaps = answer.gaps
        return answer.ttft <= self.ttft and (not gaps or sum(gaps) / len(gaps) <= self.itl)


@dataclass(frozen=True, slots=True)
class Summary:
    """One run of a load. Seconds, and per second of the run's length; a figure that nothing was measured for is None.

    Attributes:
        seconds: From the first request to the end of the last answer.
        tokens_per_second: Output tokens, as the server counted them.
        goodput: Answers a second that met the SLO.
        attainment: The share of requests that did.
        client_load: The share of one core that the client took; near 1 it is the client that was measured.
    """

    requests: int
    errors: int
    seconds: float
    prompt_tokens: int
    output_tokens: int
    tokens_per_second: float
    ttft_p50: float | None
    ttft_p95: float | None
    ttft_p99: float | None
    itl_p50: float | None
    itl_p99: float | None
    goodput: float
    attainment: float
    client_load: float


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value that `percent` of 100 are not above, interpolated linearly between neighbours; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summarize(answers: Sequence[Measured], slo: Slo, client_seconds: float) -> Summary:
    """What the answers of one run add up to; `client_seconds` is the processor time that the client took meanwhile."""
    good = [answer for answer in answers if answer.error is None and answer.arrivals]
    first = [answer.ttft for answer in good]
    gaps = [gap for answer in good for gap in answer.gaps]
    seconds = max(answer.done for answer in answers) - min(answer.sent for answer in answers)
    output = sum(answer.completion_tokens for answer in good)
    met = sum(slo.is_met(answer) for answer in answers)
    return Summary(
        requests=len(answers),
        errors=sum(answer.error is not None for answer in answers),
        seconds=seconds,
        prompt_tokens=sum(answer.prompt_tokens for answer in good),
        output_tokens=output,
        tokens_per_second=output / seconds,
        ttft_p50=percentile(first, 50),
        ttft_p95=percentile(first, 95),
        ttft_p99=percentile(first, 99),
        itl_p50=percentile(gaps, 50),
        itl_p99=percentile(gaps, 99),
        goodput=met / seconds,
        attainment=met / len(answers),
        client_load=client_seconds / seconds,
    )


def medians(rounds: Sequence[Summary]) -> dict[str, float | None]:
    """Each figure's median over the rounds that have it; errors are added up, so that none is lost."""
    figures: dict[str, float | None] = {}
    for name in asdict(rounds[0]):
        values = [value for value in (getattr(summary, name) for summary in rounds) if value is not None]
        figures[name] = round(median(values), 4) if values else None
    figures["errors"] = sum(summary.errors for summary in rounds)
    return figures
