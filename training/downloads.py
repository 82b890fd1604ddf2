"""A published archive's URL in, a checked local file out: resumable, with a progress bar."""

import contextlib
import shutil
import time
from pathlib import Path
from typing import IO, Any

import pooch
import requests
from tqdm import tqdm

ATTEMPTS = 5
CHUNK_BYTES = 1 << 16
TIMEOUT_S = 30.0


class DownloadError(RuntimeError):
    """A file could not be fetched, or is not the published one."""


def _passes(error: requests.RequestException) -> bool:
    """Whether another try may do: the connection was cut, or the server has trouble or too many requests (429)."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError))


class ResumingDownloader:
    """Pooch downloader that keeps what has arrived in `<name>.part` and asks only for the rest (RFC 9110, section 14).

    Args:
        part: where the bytes gather; survives an interrupted run.
        attempts: tries before giving up; each goes on where the last one stopped.
        pause_s: wait before the second try, doubled before each further one.
    """

    def __init__(self, part: Path, attempts: int = ATTEMPTS, pause_s: float = 1.0) -> None:
        self.part = part
        self.attempts = attempts
        self.pause_s = pause_s

    def __call__(self, url: str, output_file: str | IO[bytes], _pooch: Any, check_only: bool = False) -> bool | None:
        """Fetch `url` into `output_file`, as pooch asks its downloaders to."""
        if check_only:
            return requests.head(url, timeout=TIMEOUT_S).ok
        for attempt in range(self.attempts):
            try:
                self._fetch(url)
                break
            except requests.RequestException as error:
                if attempt == self.attempts - 1 or not _passes(error):
                    raise
                time.sleep(self.pause_s * 2**attempt)
        with contextlib.ExitStack() as stack:
            if isinstance(output_file, str):
                output_file = stack.enter_context(open(output_file, "wb"))
            with self.part.open("rb") as arrived:
                shutil.copyfileobj(arrived, output_file)
        self.part.unlink()
        return None

    def _fetch(self, url: str) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == 416:  # nothing is left to send; the digest tells whether it is the right file
                return
            response.raise_for_status()
            resumed = response.status_code == 206
            start = have if resumed else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else None
            with (
                self.part.open("ab" if resumed else "wb") as sink,
                tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=self.part.stem, leave=False) as bar,
            ):
                for block in response.iter_content(CHUNK_BYTES):
                    sink.write(block)
                    bar.update(len(block))
            if total is not None and self.part.stat().st_size < total:
                raise requests.ConnectionError(f"{url} ended after {self.part.stat().st_size} of {total} bytes")


def fetch(url: str, sha256: str, folder: Path, pause_s: float = 1.0) -> Path:
    """Download a file once, and check it.

    Args:
        url: where it is published.
        sha256: its digest, in hexadecimal.
        folder: where it is kept; made if missing.
        pause_s: wait between tries.

    Returns:
        The file's path; a file already there with this digest is not fetched again.

    Raises:
        DownloadError: the server cannot be reached, or what it sends has another digest.
    """
    name = url.rsplit("/", 1)[-1]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.part"
    begun = part.exists()
    downloader = ResumingDownloader(part, pause_s=pause_s)
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=name, path=folder, downloader=downloader))
    except requests.RequestException as error:
        raise DownloadError(f"could not download {url}: {error}") from error
    except ValueError as error:  # pooch's word for a wrong digest
        part.unlink(missing_ok=True)
        if begun:  # what was there may be of another file: without it, once more
            return fetch(url, sha256, folder, pause_s)
        raise DownloadError(f"{url} is not the published file: {error}") from error
