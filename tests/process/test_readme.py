"""The README's commands and code, run as they stand against the real server and the bundled models."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.conftest import ROOT, Running, running

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


CURLS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl")]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(ROOT / "models") as server:
        yield server


def run_curl(line: str, server: Running, folder: Path) -> str:
    """Runs a command of the README in a folder that has `examples`, against this server; returns what it prints."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: the README's commands are not tried")
    (folder / "examples").symlink_to(ROOT / "examples")
    here = line.replace("localhost:8000", f"127.0.0.1:{server.port}").replace("curl ", "curl --silent --fail ", 1)
    done = subprocess.run(["bash", "-c", here], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def test_there_are_commands_to_try() -> None:
    assert len(CURLS) >= 4


@pytest.mark.parametrize("line", CURLS)
def test_each_curl_command_is_answered(line: str, server: Running, tmp_path: Path) -> None:
    printed = run_curl(line, server, tmp_path)
    for flag, name in zip(shlex.split(line), shlex.split(line)[1:], strict=False):
        if flag == "-o":
            printed = (tmp_path / name).read_bytes().hex()
    assert printed


def test_the_first_answer_is_the_real_one(server: Running, tmp_path: Path) -> None:
    promised = json.loads(blocks("json")[0])
    real = json.loads(run_curl(CURLS[0], server, tmp_path))
    # the last digits of a probability depend on the processor
    assert taken_out(real) == [pytest.approx(value, abs=1e-3) for value in taken_out(promised)]
    assert real == promised


def taken_out(answer: Any) -> list[float]:
    """Takes every probability out of an answer."""
    if isinstance(answer, list):
        return [value for item in answer for value in taken_out(item)]
    if not isinstance(answer, dict):
        return []
    own = [answer.pop("probability")] if "probability" in answer else []
    return own + [value for item in answer.values() for value in taken_out(item)]


@pytest.mark.parametrize("code", blocks("python"))
def test_each_python_example_runs(code: str, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(code.replace("localhost:8000", f"127.0.0.1:{server.port}"), names)
    assert names["features"].shape[1] == 32768
