"""What a format costs: the same images at the same load, in turns, as predictions and as vectors of each form.

    python -m benchmarks.formats [--data-dir data] [--precision fast] [--json FILE]

One server of ours, 32 clients of wrk. A share is of the predictions' throughput.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.command import output_file, positive_float, positive_int, run
from benchmarks.contestants import OURS, write_images
from benchmarks.servers import ROOT, Server
from benchmarks.timing import table, write_rows
from benchmarks.wrk import require_wrk, run_wrk, write_script

_ASKS = {
    "prediction": "predict",
    "octet-stream": "features?format=octet-stream",
    "npy": "features?format=npy",
    "float16": "features?format=octet-stream&dtype=float16",
    "base64": "features?format=json&encoding=base64",
    "json": "features?format=json",
}
_CLIENTS = 32


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder with the official CIFAR-10 files")
    parser.add_argument("--precision", choices=("exact", "fast"), default="exact")
    parser.add_argument("--seconds", type=positive_float, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    require_wrk()
    rates: dict[str, list[float]] = {name: [] for name in _ASKS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = write_images(options.data_dir, folder)
        script = folder / "wrk.lua"
        write_script(script, folder, len(list(folder.glob("*.png"))), None)
        environment = {"SCA_PORT": "{port}", "SCA_MODELS_DIR": str(ROOT / "models"), "SCA_LOG_LEVEL": "warning"}
        environment["SCA_PRECISION"] = options.precision
        server = Server(OURS, [sys.executable, "-m", "service"], environment, "predict", image)
        try:
            base = server.url.rsplit("/", 1)[0]
            run_wrk(server.url, script, _CLIENTS, 1)
            for _ in range(options.rounds):
                for name, ask in _ASKS.items():
                    rates[name].append(run_wrk(f"{base}/{ask}", script, _CLIENTS, options.seconds).rps)
        finally:
            server.close()
    best = statistics.median(rates["prediction"])
    medians = {name: statistics.median(found) for name, found in rates.items()}
    rows: list[dict[str, Any]] = [{"format": name, "rps": rps, "share": rps / best} for name, rps in medians.items()]
    print(table(rows))
    write_rows(options.json, rows)


if __name__ == "__main__":
    sys.exit(run(main))
