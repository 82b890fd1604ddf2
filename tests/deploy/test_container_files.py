"""What the container files promise each other and the service: settings that exist, limits that leave time to drain."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings

Loader = Callable[[str], Any]
KNOWN = {f"SCA_{name.upper()}" for name in Settings.model_fields}
DRAIN_S = Settings.model_fields["drain_s"].default


def seconds(duration: str) -> float:
    assert duration.endswith("s")
    return float(duration[:-1])


def test_every_setting_named_in_a_container_file_exists(root: Path, load_yaml: Loader) -> None:
    # the service refuses to start with an unknown SCA_* variable
    named = set(re.findall(r"\bSCA_\w+(?==)", (root / "Dockerfile").read_text()))
    assert named >= {"SCA_HOST", "SCA_PORT", "SCA_MODELS_DIR"}
    for file in ("docker-compose.yml", "docker-compose.gpu.yml"):
        named |= set(load_yaml(file)["services"]["service"].get("environment", {}))
    pod = load_yaml("deploy/kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is False
    named |= {variable["name"] for variable in pod["containers"][0]["env"]}
    assert named <= KNOWN


def test_compose_leaves_time_to_drain(load_yaml: Loader) -> None:
    service = load_yaml("docker-compose.yml")["services"]["service"]
    assert seconds(service["stop_grace_period"]) > float(service["environment"].get("SCA_DRAIN_S", DRAIN_S))


def test_kubernetes_leaves_time_to_drain(load_yaml: Loader) -> None:
    pod = load_yaml("deploy/kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    drain = {variable["name"]: variable["value"] for variable in container["env"]}.get("SCA_DRAIN_S", DRAIN_S)
    sleep = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep[0] == "sleep"
    assert pod["terminationGracePeriodSeconds"] > float(sleep[1]) + float(drain)


def test_kubernetes_selects_its_own_pods(load_yaml: Loader) -> None:
    deployment = load_yaml("deploy/kubernetes/deployment.yaml")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert load_yaml("deploy/kubernetes/service.yaml")["spec"]["selector"] == labels
    assert load_yaml("deploy/kubernetes/poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"] == labels


def test_kustomization_names_files_that_exist(root: Path, load_yaml: Loader) -> None:
    for folder in ("", "autoscale-queue", "autoscale-cpu"):
        here = root / "deploy" / "kubernetes" / folder
        for resource in load_yaml(str((here / "kustomization.yaml").relative_to(root)))["resources"]:
            assert (here / resource).is_file(), resource


def test_the_service_is_shut_in(root: Path, load_yaml: Loader) -> None:
    service = load_yaml("docker-compose.yml")["services"]["service"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    uid = re.search(r"^USER (\d+)", (root / "Dockerfile").read_text(), re.MULTILINE)
    assert uid and int(uid[1]) > 0
    pod = load_yaml("deploy/kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == int(uid[1])


def test_compose_publishes_on_this_machine_only(load_yaml: Loader) -> None:
    for name, service in load_yaml("docker-compose.yml")["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_compose_mounts_files_that_exist(root: Path, load_yaml: Loader) -> None:
    for file in ("docker-compose.yml", "docker-compose.gpu.yml"):
        for service in load_yaml(file)["services"].values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                assert not source.startswith(".") or (root / source).exists(), source


def test_actions_are_pinned_by_commit(root: Path) -> None:
    uses = re.findall(r"uses: (\S+)", (root / ".github/workflows/ci.yml").read_text())
    assert uses and all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action) for action in uses)


@pytest.mark.parametrize("component", ["autoscale-queue", "autoscale-cpu"])
def test_who_scales_says_how_many_replicas_there_are(component: str, load_yaml: Loader) -> None:
    (patch,) = load_yaml(f"deploy/kubernetes/{component}/kustomization.yaml")["patches"]
    assert patch["target"] == {"kind": "Deployment", "name": "sca-features"}
    assert json.loads(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]
