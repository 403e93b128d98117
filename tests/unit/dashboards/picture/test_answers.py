"""What is asked of Prometheus for a panel, and what becomes of its answers."""

import json
import math
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboards.picture.answers import Series, Span, answer, prometheus


@pytest.fixture
def server():
    """A Prometheus that notes what it is asked, and answers the same to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = urlsplit(self.path)
            self.server.asked.append((asked.path, {name: value for name, (value,) in parse_qs(asked.query).items()}))
            found = [{"metric": {"model_name": "m"}, "values": [[100, "1.5"], [120, "NaN"], [130, "2"]]}]
            body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": found}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Not on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.asked = []
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.001})
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def test_a_series_has_a_value_for_each_moment_and_none_where_nothing_was(server):
    query = prometheus(f"http://127.0.0.1:{server.server_port}/")
    (found,) = query("up", Span(100, 130, 10))
    assert server.asked == [("/api/v1/query_range", {"query": "up", "start": "100", "end": "130", "step": "10"})]
    assert found.labels == {"model_name": "m"}
    assert found.values[0::3] == [1.5, 2.0]
    assert all(math.isnan(value) for value in found.values[1:3])


def ask(panel):
    asked = []

    def query(expression, span):
        asked.append((expression, span))
        return [Series({"tier": "prefix"}, [0.0] * len(span.times))]

    brought = answer(panel, Span(1000, 1600, 2), query, model="m", scrape_seconds=5)
    return asked, brought


def test_variables_are_what_grafana_would_make_of_them():
    targets = [
        {"expr": 'rate(a{model_name=~"$model"}[$__rate_interval])', "legendFormat": "{{tier}} of {{model_name}}x"},
        {"expr": "increase(b[$__range])", "legendFormat": "b"},
    ]
    asked, brought = ask({"targets": targets})
    assert [expression for expression, _ in asked] == ['rate(a{model_name=~"m"}[20s])', "increase(b[600s])"]
    assert [legend for legend, _ in brought.series] == ["prefix of x", "b"]
    assert brought.span == Span(1000, 1600, 2)


def test_a_panel_with_an_interval_or_few_points_takes_wider_steps_and_rates():
    asked, brought = ask({"targets": [{"expr": "[$__rate_interval]", "legendFormat": "a"}], "interval": "1m"})
    assert asked == [("[65s]", Span(1000, 1600, 60))]
    _, brought = ask({"targets": [{"expr": "a", "legendFormat": "a"}], "maxDataPoints": 80})
    assert brought.span == Span(1000, 1600, 7.5)
