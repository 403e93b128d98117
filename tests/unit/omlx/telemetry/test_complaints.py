"""What the libraries say is said once a minute, under the endpoint's name."""

import logging

from omlx.telemetry.complaints import LIBRARIES, Complaints


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def complain(text, level=logging.WARNING):
    logging.getLogger(f"{LIBRARIES}.exporter").log(level, "it is %s", text)


def test_one_line_a_minute_and_nothing_past_the_handler(caplog):
    clock = Clock()
    Complaints("http://collector", clock)
    complain("gone")
    complain("still gone", logging.ERROR)
    clock.now += 59
    complain("still gone")
    clock.now += 1
    complain("slow")
    assert caplog.messages == ["OpenTelemetry at http://collector: it is gone", "OpenTelemetry at http://collector: it is slow"]
    assert {record.name for record in caplog.records} == {"omlx.telemetry.complaints"}


def test_what_is_no_warning_is_left_out(caplog):
    Complaints("http://collector")
    complain("fine", logging.INFO)
    complain("gone")
    assert len(caplog.messages) == 1


def test_a_muted_one_says_nothing(caplog):
    Complaints("http://collector").mute()
    complain("gone")
    assert caplog.messages == []
