"""The process's limits and its processor → how many threads are worth starting, and what they are good at."""

import os
from pathlib import Path

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_CPUINFO = Path("/proc/cpuinfo")


def usable_cpus(root: Path = _CGROUP_ROOT, own: Path = _OWN_CGROUPS) -> int:
    """Counts the CPUs this process may really use: affinity, capped by the cgroup quota (v1 and v2), at least 1.

    onnxruntime looks at neither, and with more threads than CPUs it is several times slower than with one.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(root, own)
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def has_avx512(cpuinfo: Path = _CPUINFO) -> bool:
    """Tells whether the processor has AVX-512, with which it multiplies twice as much at a time as with AVX2."""
    flags = (line.partition(":")[2].split() for line in _read(cpuinfo).splitlines() if line.startswith("flags"))
    return "avx512f" in next(flags, [])


def _quota(root: Path, own: Path) -> float | None:
    """Returns the tightest CPU quota on the way from the process's own cgroup up to the root, in CPUs."""
    found = [
        quota
        for controllers, path in _memberships(own)
        for quota in (_quota_v2(root, path) if not controllers else _quota_v1(root, controllers, path))
    ]
    return min(found, default=None)


def _memberships(own: Path) -> list[tuple[str, str]]:
    """Reads `hierarchy:controllers:path` lines; v2 has no controllers. Always includes the root as seen from inside."""
    lines: list[tuple[str, str]] = [("", "/"), ("cpu", "/")]
    try:
        text = own.read_text()
    except OSError:
        return lines
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers or "cpu" in controllers.split(","):
            lines.append((controllers, path))
    return lines


def _upwards(base: Path, path: str) -> list[Path]:
    """Lists the folders from `base / path` up to `base`."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [base.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _quota_v2(root: Path, path: str) -> list[float]:
    found = []
    for folder in _upwards(root, path):
        fields = _read(folder / "cpu.max").split()
        if len(fields) == 2 and fields[0].isdigit() and int(fields[1]) > 0:
            found.append(int(fields[0]) / int(fields[1]))
    return found


def _quota_v1(root: Path, controllers: str, path: str) -> list[float]:
    found = []
    for base in (root / controllers, root / "cpu"):
        for folder in _upwards(base, path):
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            # A quota of -1 means none.
            if quota.isdigit() and period.isdigit() and int(period) > 0:
                found.append(int(quota) / int(period))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
