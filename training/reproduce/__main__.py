"""`python -m training.reproduce --table 2`: measure rows of the paper that have no number yet, and write the report."""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from training.packages import installed

with installed():
    import torch

    from training.commands import recorded_command
    from training.options import MAX_THREADS
    from training.reproduce.bench import Bench
    from training.reproduce.catalogue.order import ROWS
    from training.reproduce.document import Report
    from training.reproduce.listing import listing
    from training.reproduce.rows import Difference, FactOf, Row
    from training.reproduce.runner import Runner
    from training.reproduce.store import Store
    from training.run import DeviceError, pick_device


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m training.reproduce",
        description="Measure the paper's tables, figures and claims, and write docs/paper.md and docs/paper.json. "
        "What has a number is not measured again; what was interrupted goes on from its checkpoint.",
    )
    parser.add_argument("--table", type=int, choices=(1, 2, 3), action="append", default=[], help="a table's rows")
    parser.add_argument("--figure", type=int, choices=range(1, 6), action="append", default=[], help="a figure's rows")
    parser.add_argument("--claims", action="store_true", help="what the paper says in its text")
    parser.add_argument("--labels", action="store_true", help="few labels")
    parser.add_argument("--best", action="store_true", help="the best networks of the family, past the paper's")
    parser.add_argument("--choices", action="store_true", help="what the paper leaves open")
    parser.add_argument("--all", action="store_true", help="everything")
    parser.add_argument("--rows", metavar="GLOB", action="append", default=[], help="only rows with such a name")
    parser.add_argument(
        "--list",
        action="store_true",
        help="name the rows, what is done, here and in the report, and what it takes",
    )
    parser.add_argument("--report-only", action="store_true", help="write the report of what has a number")
    parser.add_argument("--seeds", type=int, help="seeds a row (default: 3; 1 for long rows and choices)")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="official files, kept here (%(default)s)")
    parser.add_argument("--no-download", action="store_true", help="fail instead of downloading missing files")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="checkpoints and results (%(default)s)")
    parser.add_argument("--docs-dir", type=Path, default=Path("docs"), help="where the report goes (%(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to train (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: all that this process may use)")
    options = parser.parse_args(arguments)
    chosen = options.table or options.figure or options.rows
    chosen = chosen or options.claims or options.labels or options.best or options.choices
    if not (chosen or options.all or options.list or options.report_only):
        parser.error("say what to measure: --table, --figure, --claims, --labels, --best, --choices, --rows or --all")
    if options.seeds is not None and options.seeds < 1:
        parser.error(f"--seeds must be at least 1: {options.seeds}")
    if not 0 <= options.threads <= MAX_THREADS:
        parser.error(f"--threads must be from 0 to {MAX_THREADS}: {options.threads}")
    return options


class RowError(RuntimeError):
    """No row goes by a name that was asked for."""


def selected(rows: Sequence[Row], options: argparse.Namespace) -> list[Row]:
    """The rows that the command line asks for, those before that others follow from."""
    sections = {f"table {number}" for number in options.table} | {f"figure {number}" for number in options.figure}
    sections |= {name for name in ("claims", "labels", "best", "choices") if getattr(options, name)}
    everything = options.all or not sections
    asked = [
        row
        for row in rows
        if (everything or row.section in sections)
        and (not options.rows or any(fnmatchcase(row.name, pattern) for pattern in options.rows))
    ]
    names = {row.name for row in asked}
    if options.rows and not names:
        raise RowError(f"no row is called {' or '.join(map(repr, options.rows))}: --list names them all")
    for row in asked:
        match row.source:
            case Difference(one, other):
                names |= {one, other}
            case FactOf(of):
                names.add(of)
    return [row for row in rows if row.name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status: 0, or 1 if a row failed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    try:
        device = pick_device(options.device)
        rows = selected(ROWS, options)
    except (DeviceError, RowError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    command = recorded_command("training.reproduce", arguments)
    bench = Bench(options.data_dir, options.runs_dir, not options.no_download, device, command)
    report = Report(ROWS, Store(options.runs_dir / "results"), options.docs_dir)
    runner = Runner(bench, report.store, lambda line: print(line, flush=True), report.write)
    tasks = runner.tasks(rows, options.seeds)
    if options.list:
        print(listing(runner, tasks, report.numbers()))
        return 0
    if not (tasks or options.report_only):
        print("nothing to measure: these rows have published numbers only", file=sys.stderr)
    try:
        failed = 0 if options.report_only else runner.run(tasks)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    report.write()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
