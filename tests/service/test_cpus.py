"""The number of threads follows the container's quota, not the host's processors."""

import os
from pathlib import Path

import pytest

from service.cpus import has_avx512, usable_cpus


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def files(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        file = root / name.replace("__", "/").replace("cpu_", "cpu.")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("", 8)],
)
def test_cgroup_v2_quota(tmp_path: Path, quota: str, expected: int) -> None:
    assert usable_cpus(files(tmp_path, cpu_max=quota), tmp_path / "none") == expected


def test_the_tightest_ancestor_counts(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    files(tmp_path, a__cpu_max="300000 100000", a__b__cpu_max="600000 100000")
    assert usable_cpus(tmp_path, own) == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("400000", 4)])
def test_cgroup_v1_quota(tmp_path: Path, quota: str, expected: int) -> None:
    own = tmp_path / "own"
    own.write_text("4:cpu,cpuacct:/box\n")
    folder = tmp_path / "cpu,cpuacct" / "box"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert usable_cpus(tmp_path, own) == expected


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path / "nothing", tmp_path / "nothing") == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name : EPYC\nflags\t\t: fpu avx avx2 avx512f avx512_vnni\nprocessor : 1\nflags : fpu\n", True),
        ("model name : avx512f\nflags\t\t: fpu avx avx2 avx512\n", False),
        ("vmx flags : avx512f\nFeatures : asimd\n", False),
        ("", False),
    ],
)
def test_avx512_is_read_from_the_first_processors_flags(tmp_path: Path, text: str, expected: bool) -> None:
    assert has_avx512(files(tmp_path, cpuinfo=text) / "cpuinfo") is expected


def test_without_cpuinfo_there_is_no_avx512(tmp_path: Path) -> None:
    assert not has_avx512(tmp_path / "none")
