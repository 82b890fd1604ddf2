"""A command line in, what a record says it was out: folders of one machine are nobody else's."""

import shlex
from collections.abc import Sequence
from pathlib import Path

FOLDERS = ("--data-dir", "--runs-dir", "--docs-dir", "--models-dir")
"""Options that say where things are, and nothing about what comes out."""


def recorded_command(program: str, arguments: Sequence[str]) -> str:
    """The command line without folders; of a folder of images its own name is kept.

    Args:
        program: the module that `python -m` runs.
        arguments: its arguments.
    """
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        option, equals, value = argument.partition("=")
        if option in FOLDERS or option == "--folder":
            value = value if equals else next(given, "")
            kept += [] if option in FOLDERS else [option, Path(value).resolve().name]
        else:
            kept.append(argument)
    # a name that is not UTF-8 could not be written down
    return f"python -m {program} {shlex.join(kept)}".encode(errors="backslashreplace").decode()
