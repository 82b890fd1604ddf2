"""The walls: service and training meet on disk only, and each does without the other's libraries."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HALVES = ("service", "training")
FORBIDDEN = {
    "service": {"training", "tests", "torch", "onnx", "numba", "scipy", "matplotlib", "tqdm", "pooch", "tensorboard"},
    "training": {"service", "tests", "fastapi", "starlette", "uvicorn", "pydantic", "prometheus_client", "orjson"},
}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "prometheus_client": "prometheus-client",
    "pydantic_settings": "pydantic-settings",
    "python_multipart": "python-multipart",
}
COMES_WITH = {"starlette": "fastapi", "requests": "pooch", "anyio": "fastapi"}


def files(half: str) -> list[Path]:
    found = sorted((ROOT / half).rglob("*.py"))
    assert found, f"{half}/ is empty: nothing is checked"
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("half", HALVES)
def test_neither_half_imports_what_belongs_to_the_other(half: str) -> None:
    for path in files(half):
        bad = {name.split(".")[0] for name in imports(path)} & FORBIDDEN[half]
        assert not bad, f"{path.relative_to(ROOT)} imports {', '.join(sorted(bad))}"


@pytest.mark.parametrize("half", HALVES)
def test_every_library_is_declared(half: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + (extras["training"] if half == "training" else extras["service"] + extras["cpu"])
    declared = {name.split(">")[0].split("=")[0].split("[")[0].strip() for name in wanted}
    for path in files(half):
        for name in {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {half}:
            library = COMES_WITH.get(name, DISTRIBUTIONS.get(name, name))
            assert library in declared, f"{path.relative_to(ROOT)} imports {name}, which {half} does not declare"


@pytest.mark.parametrize("half", HALVES)
def test_no_modules_import_each_other_in_a_circle(half: str) -> None:
    modules = {module_of(path): path for path in files(half)}
    graph = {name: {other for other in imports(path) if other in modules} - {name} for name, path in modules.items()}
    assert any(graph.values()), "no imports were found: nothing is checked"
    # the package itself holds nothing but its docstring and version
    TopologicalSorter({name: others - {half} for name, others in graph.items()}).prepare()


@pytest.mark.parametrize("folder", ["service", "process", "deploy", "training"])
def test_only_the_contract_tests_see_both_halves(folder: str) -> None:
    other = "service" if folder == "training" else "training"
    for path in sorted((ROOT / "tests" / folder).rglob("*.py")):
        assert other not in {name.split(".")[0] for name in imports(path)}, f"{path.relative_to(ROOT)} imports {other}"


@pytest.mark.parametrize("half", HALVES)
def test_no_module_is_longer_than_250_lines(half: str) -> None:
    for path in files(half):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 250, f"{path.relative_to(ROOT)} has {lines} lines"


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {forbidden!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
import {module}
loaded = {{name.split(".")[0] for name in sys.modules}} & {forbidden!r}
assert not loaded, loaded
print("ready")
"""


@pytest.mark.parametrize(("half", "module"), [("service", "service.app"), ("training", "training.run")])
def test_each_half_starts_without_the_others_libraries(half: str, module: str) -> None:
    # onnxruntime imports nothing of these; a library that did would be found here
    script = BLOCK.format(forbidden=FORBIDDEN[half], module=module)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and done.stdout == "ready\n", done.stderr
