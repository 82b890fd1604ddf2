"""Programs in an environment that lacks what they need."""

import subprocess
import sys
from pathlib import Path

import pytest

from training.packages import installed

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = "import runpy, sys; sys.modules['torch'] = None; runpy.run_module(sys.argv[1], run_name='__main__')"


@pytest.mark.parametrize("program", ["training.run", "training.reproduce", "training.fast"])
def test_without_torch_a_program_says_what_to_install(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, program], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: training needs more packages: pip install '.[training]'\n"


def test_a_module_of_ours_that_is_missing_is_a_fault() -> None:
    with pytest.raises(ModuleNotFoundError), installed():
        raise ModuleNotFoundError(name="training.nothing")
