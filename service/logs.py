"""Log records → one JSON object per line on standard output."""

import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import Any

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON; whatever was passed as `extra` becomes a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record as JSON text without line breaks."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(level: str) -> None:
    """Sends all loggers, the web server's included, to standard output as JSON.

    Args:
        level: Least level to write, in lower case.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    if level != "debug":
        # They warn of every client that speaks no HTTP or no multipart; what matters they call an error.
        for name in ("uvicorn.error", "python_multipart"):
            logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("PIL").setLevel(logging.INFO)  # it has a line for each chunk of a file
    logging.captureWarnings(True)
    ignore_image_warnings()


def ignore_image_warnings() -> None:
    """Silences Pillow's remarks on odd files: clients send them at will, and what matters raises."""
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
