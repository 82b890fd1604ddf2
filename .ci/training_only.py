"""Imports every module of `training` where the service's libraries are not installed: exits 1 if one of them is needed.

Run it from the project's root with the interpreter of an environment that holds `.[training]` and nothing else.
"""

import importlib
import importlib.util
import pkgutil
import sys


def main() -> None:
    """Checks what is absent, then imports what is there."""
    for absent in ("fastapi", "starlette", "uvicorn", "prometheus_client"):
        if importlib.util.find_spec(absent):
            sys.exit(f"{absent} is installed: training must do without it")
    package = importlib.import_module("training")
    names = sorted(module.name for module in pkgutil.walk_packages(package.__path__, "training."))
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    print(f"imported {', '.join(names)}")


if __name__ == "__main__":
    main()
