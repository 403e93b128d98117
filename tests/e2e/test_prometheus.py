"""A real Prometheus scrapes a server under load: every expression of every panel and alert has data, and promtool is content."""

import asyncio
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.client import chat, greedy
from benchmarks.server import free_port, running_server
from dashboards.engine import engine
from dashboards.expressions import expressions
from dashboards.overview import overview
from tests.promql import measures

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus isn't installed; CI has it")
MODEL = "SmolLM2-135M-Instruct"
ALERTS = Path(__file__).parents[2] / "dashboards" / "alerts.yaml"
SCRAPES = 12  # a second apart, after which rates over some seconds can be told


@contextmanager
def prometheus(folder: Path, target: str):
    """A Prometheus that scrapes a server every second and watches our alerts; its address."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(ALERTS)],
                "scrape_configs": [{"job_name": "omlx", "static_configs": [{"targets": [target]}]}],
            }
        )
    )
    arguments = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    process = subprocess.Popen(
        [*arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def ask(url, path, **parameters):
    return httpx.get(f"{url}{path}", params=parameters, timeout=10).raise_for_status().json()["data"]


def wait_for(condition, seconds=60):
    """Return once something is so; it is another program that is waited for."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass  # it isn't there yet, or not ready
        assert time.monotonic() < deadline
        time.sleep(0.2)


async def load(url):
    """Answers whole, aborted and refused."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        await asyncio.gather(*(chat(url, greedy(MODEL, f"Say the number {number}.", 24, ignore_eos=True)) for number in range(6)))
        await http.post("/v1/chat/completions", json={"model": "none", "messages": [{"role": "user", "content": "Hi"}]})
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/chat/completions", json=greedy(MODEL, "Tell a story.", 400), timeout=0.5)
        await chat(url, greedy(MODEL, "Say the number 1.", 24))  # whose beginning is known by now


def test_every_expression_has_data(demo_models, tmp_path):
    with running_server(demo_models, "--no-hf-cache") as server, prometheus(tmp_path, server.url.removeprefix("http://")) as url:
        wait_for(lambda: ask(url, "/api/v1/query", query="omlx_catalog_up")["result"])
        asyncio.run(load(server.url))
        wait_for(
            lambda: (
                int(
                    ask(url, "/api/v1/query", query=f"count_over_time(omlx_num_requests_running[{SCRAPES}s])")["result"][0][
                        "value"
                    ][1]
                )
                >= SCRAPES - 2
            )
        )
        asyncio.run(load(server.url))
        time.sleep(2.5)  # so that two scrapes have seen it: a rate needs them

        panels = [
            (f"{dashboard}: {panel}", expression)
            for made in (overview(), engine())
            for dashboard, panel, expression in expressions(made, model=".+", interval="15s", range_="15s")
        ]
        rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
        alerts = [(rule["alert"], expression) for rule in rules for expression in measures(rule["expr"])]
        assert len(panels) > 40
        assert len(alerts) >= len(rules)
        empty = [
            (name, expression)
            for name, expression in (*panels, *alerts)
            if not ask(url, "/api/v1/query", query=expression)["result"]
        ]
        assert empty == []

        evaluated = [rule for group in ask(url, "/api/v1/rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in evaluated} == {rule["alert"] for rule in rules}
        assert {rule["health"] for rule in evaluated} == {"ok"}

        for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            exposition = httpx.get(f"{server.url}/metrics", headers={"accept": accept}).text
            if accept == "text/plain":
                checked = subprocess.run(
                    ["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
                )
                assert checked.returncode == 0, checked.stderr
            assert f'omlx_requests_aborted_total{{model_name="{MODEL}"}} 2.0' in exposition
