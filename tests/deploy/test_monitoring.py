"""Dashboard, alert rules and autoscaling ask only for metrics and labels that the service has."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from service.metrics import Metrics

Loader = Callable[[str], Any]
DASHBOARD = "deploy/grafana/dashboards/service.json"
# What Prometheus itself and the target files add to every series.
TARGET_LABELS = {"job", "instance", "accelerator"}


@pytest.fixture(scope="module")
def labels_of() -> dict[str, set[str]]:
    """Every series the service exposes, by the name a query uses, with its labels."""
    metrics = Metrics(CollectorRegistry())
    series: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        series[family.name] = set()
    for instrument in vars(metrics).values():
        if isinstance(instrument, MetricWrapperBase):
            (family,) = instrument.describe()
            labels = set(instrument._labelnames)
            del series[family.name]
            match family.type:
                case "counter":
                    series[f"{family.name}_total"] = labels
                case "histogram":
                    series |= {family.name + "_sum": labels, family.name + "_count": labels}
                    series[family.name + "_bucket"] = labels | {"le"}
                case _:
                    series[family.name] = labels
    # the client library's own counter, which it lists without its suffix
    series["process_cpu_seconds_total"] = series.pop("process_cpu_seconds")
    return series


def panels(root: Path) -> Iterator[dict[str, Any]]:
    yield from json.loads((root / DASHBOARD).read_text())["panels"]


def queries(root: Path, load_yaml: Loader) -> Iterator[str]:
    """Every PromQL expression of the dashboard, the alert rules and the autoscaler."""
    for panel in panels(root):
        yield from (target["expr"] for target in panel.get("targets", []))
    for variable in json.loads((root / DASHBOARD).read_text())["templating"]["list"]:
        yield variable["query"]["query"]
    for group in load_yaml("deploy/prometheus/alerts.yml")["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for trigger in load_yaml("deploy/kubernetes/autoscale-queue/scaledobject.yaml")["spec"]["triggers"]:
        yield trigger["metadata"]["query"]


def test_queries_name_series_and_labels_that_exist(
    root: Path, load_yaml: Loader, labels_of: dict[str, set[str]]
) -> None:
    seen = 0
    for query in queries(root, load_yaml):
        for name, selector in re.findall(r"\b((?:sca|process)_\w+)(?:\{([^}]*)\})?", query):
            assert name in labels_of, f"{name} in {query}"
            asked = set(re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', '""', selector)))
            assert asked <= labels_of[name] | TARGET_LABELS, f"{name}{{{selector}}}"
            seen += 1
        grouped = {label for names in re.findall(r"\bby \(([^)]*)\)", query) for label in names.split(", ")}
        of_query = set().union(*(labels_of[name] for name in re.findall(r"\b(?:sca|process)_\w+", query)))
        assert grouped <= of_query | TARGET_LABELS, query
    assert seen > 40


def test_the_dashboard_shows_every_instrument(root: Path, load_yaml: Loader, labels_of: dict[str, set[str]]) -> None:
    text = " ".join(queries(root, load_yaml))
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in labels_of if name.startswith("sca_")}
    assert [name for name in sorted(names) if name not in text] == []


def test_panels_have_their_own_id_and_place(root: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    ids = [panel["id"] for panel in panels(root)]
    assert len(ids) == len(set(ids))
    for panel in panels(root):
        at = panel["gridPos"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell[0] < 24
            assert taken.setdefault(cell, panel["title"]) == panel["title"]


def test_grafana_finds_what_compose_mounts(root: Path, load_yaml: Loader) -> None:
    mounts = dict(
        volume.split(":")[1::-1] for volume in load_yaml("docker-compose.yml")["services"]["grafana"]["volumes"]
    )
    assert mounts["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    (provider,) = load_yaml("deploy/grafana/provisioning/dashboards/dashboards.yml")["providers"]
    assert root / mounts[provider["options"]["path"]] == (root / DASHBOARD).parent
    (source,) = load_yaml("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    uids = {panel["datasource"]["uid"] for panel in panels(root) if "datasource" in panel}
    assert uids == {source["uid"]}
    prometheus = load_yaml("deploy/prometheus/prometheus.yml")["global"]
    assert source["jsonData"]["timeInterval"] == prometheus["scrape_interval"]


def test_every_alert_has_a_test(load_yaml: Loader) -> None:
    rules = {rule["alert"] for group in load_yaml("deploy/prometheus/alerts.yml")["groups"] for rule in group["rules"]}
    fired = {
        case["alertname"]
        for test in load_yaml("deploy/prometheus/alerts_test.yml")["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == rules


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed; CI's monitoring job has it")
def test_alert_rules_do_what_their_tests_say(root: Path) -> None:
    answer = subprocess.run(
        ["promtool", "test", "rules", "deploy/prometheus/alerts_test.yml"], cwd=root, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
