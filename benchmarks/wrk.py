"""wrk as load generator: clients with a connection each post images in turn, as fast as they are answered."""

import json
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local requests, turn = {{}}, 0
init = function(args)
  for index = 0, {count} - 1 do
    local file = io.open("{folder}/" .. index .. ".png", "rb")
    local headers = {{["Content-Type"] = "image/png"{accept}}}
    requests[#requests + 1] = wrk.format("POST", nil, headers, file:read("*a"))
    file:close()
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
{pace}
done = function(summary, latency, rates)
  local failed = summary.errors
  io.write(string.format(
    'RESULT {{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "refused": %d, "broken": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    failed.status, failed.connect + failed.read + failed.write + failed.timeout))
end
"""

_PACE = """
local ffi = require("ffi")
ffi.cdef("typedef struct {{ long s, ns; }} moment; int clock_gettime(int, moment *);")
local moment, due = ffi.new("moment"), nil
delay = function()
  ffi.C.clock_gettime(1, moment)
  local now = 1e3 * tonumber(moment.s) + tonumber(moment.ns) / 1e6
  due = math.max(due or now, now - {late_ms}) + {interval_ms} * {spread}
  return math.max(0, math.floor(due - now + 0.5))
end
"""
"""Each client that is free takes the next moment at which a request is due."""
_LATE_MS = 1000


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw.

    Attributes:
        rps: Answers with a status below 400, a second.
        p50_ms: Median time to an answer, from when its request was sent; of the refused ones too.
        p99_ms: 99th percentile.
        refused: Answers with another status.
        refused_rps: The same, a second.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    refused: int
    refused_rps: float


def write_script(
    path: Path, images: Path, count: int, accept: str | None, rate: float | None = None, even: bool = True
) -> None:
    """Writes wrk's script.

    Args:
        path: Where to.
        images: Folder of `0.png`, `1.png`, ….
        count: How many those are.
        accept: What to ask for; of compression nothing is said, which suits every server.
        rate: Requests a second, as long as there are free clients; None asks again as soon as there is an answer.
        even: Whether they come evenly, and not at random moments (Poisson).
    """
    wanted = f', ["Accept"] = "{accept}"' if accept else ""
    spread = "1" if even else "-math.log(1 - math.random())"
    pace = _PACE.format(late_ms=_LATE_MS, interval_ms=1e3 / rate, spread=spread) if rate else ""
    path.write_text(_SCRIPT.format(folder=images, count=count, accept=wanted, pace=pace))


def require_wrk() -> None:
    """Finds out whether wrk is there, before anything is started for it.

    Raises:
        RuntimeError: It is not.
    """
    if not shutil.which("wrk"):
        raise RuntimeError("wrk is not installed; on Debian or Ubuntu: apt install wrk")


def run_wrk(url: str, script: Path, clients: int, seconds: float) -> Load:
    """Loads a server.

    Raises:
        RuntimeError: wrk does not run, or connections broke.
    """
    command = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True)
    _, found, line = done.stdout.partition("RESULT ")
    if not found:
        raise RuntimeError(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}")
    result = json.loads(line)
    if result["broken"]:
        raise RuntimeError(f"{url}: {result['broken']} connections broke")
    refused, elapsed_s = result["refused"], result["seconds"]
    rate = (result["requests"] - refused) / elapsed_s
    return Load(rate, result["p50_ms"], result["p99_ms"], refused, refused / elapsed_s)
