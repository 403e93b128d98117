"""The files that bring Prometheus and Grafana up: they fit each other, and nobody else can look."""

from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "dashboards"
COMPOSE = ("compose.yaml", "compose.linux.yaml")


def read(name):
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


def mounts(service):
    """What a service is given of this folder: the path in its container, and here."""
    given = [entry.split(":") for entry in service["volumes"] if entry.startswith(".")]
    assert all(mode == "ro" for _, _, mode in given)
    return {inside: FOLDER / here for here, inside, _ in given}


@pytest.mark.parametrize("name", COMPOSE)
def test_what_is_mounted_is_there_and_where_it_is_looked_for(name):
    services = read(name)["services"]
    prometheus, grafana = mounts(services["prometheus"]), mounts(services["grafana"])
    assert all(path.exists() for path in [*prometheus.values(), *grafana.values()])
    (config,) = [option.partition("=")[2] for option in services["prometheus"]["command"] if option.startswith("--config.file=")]
    rules = yaml.safe_load(prometheus[config].read_text("utf-8"))["rule_files"]
    assert all(str(Path(config).parent / rule) in prometheus for rule in rules)
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    (provider,) = yaml.safe_load((grafana["/etc/grafana/provisioning/dashboards"] / "omlx.yaml").read_text("utf-8"))["providers"]
    assert provider["options"]["path"] == str(home.parent)
    assert (grafana[str(home.parent)] / home.name).exists()


@pytest.mark.parametrize("name", COMPOSE)
def test_images_are_pinned(name):
    images = {service["image"] for service in read(name)["services"].values()}
    assert images == {service["image"] for service in read(COMPOSE[0])["services"].values()}
    assert any(image.startswith("grafana/grafana:11.") for image in images)
    assert all(image.rpartition(":")[2][-1].isdigit() for image in images)


def test_only_this_machine_can_look():
    desktop, linux = (read(name)["services"] for name in COMPOSE)
    assert all(port.startswith("127.0.0.1:") for port in desktop["prometheus"]["ports"])
    assert "ports" not in desktop["grafana"]
    assert {service["network_mode"] for service in linux.values()} == {"host"}
    assert "--web.listen-address=127.0.0.1:9090" in linux["prometheus"]["command"]
    environment = linux["grafana"]["environment"]
    assert environment.pop("GF_SERVER_HTTP_ADDR") == "127.0.0.1"
    assert environment == desktop["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_grafana_finds_prometheus_and_knows_how_often_it_scrapes():
    (source,) = read("provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://127.0.0.1:9090"
    for name in ("prometheus.yml", "prometheus.desktop.yml"):
        assert read(name)["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]


def test_prometheus_differs_only_in_where_the_server_is():
    here, desktop = read("prometheus.yml"), read("prometheus.desktop.yml")
    assert here["scrape_configs"][0]["static_configs"][0].pop("targets") == ["127.0.0.1:8000"]
    assert desktop["scrape_configs"][0]["static_configs"][0].pop("targets") == ["host.docker.internal:8000"]
    assert here == desktop
    assert here["scrape_configs"][0]["job_name"] == "omlx"  # what the alerts on `up` ask for
