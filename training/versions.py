"""A run's version of its bundle: taken once, kept over interruptions, never somebody else's."""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from training.export import next_version
from training.runfolder import RunFolder

FILE = "version.json"


class VersionNumber:
    """The number of a run's bundle.

    Args:
        folder: the run's.
        bundles: the folder of the versions of its bundle, `<models>/<name>`.
    """

    def __init__(self, folder: RunFolder, bundles: Path) -> None:
        self.folder, self.bundles = folder, bundles

    @property
    def kept(self) -> dict[str, Any]:
        """What is noted: `bundles`, `version`, and `manifest`, the SHA-256 of its manifest, if there is one."""
        noted = self.folder.read(FILE, {})
        return noted if isinstance(noted, dict) else {}

    def take(self) -> str:
        """The version that an earlier attempt has taken, or the next free one.

        An empty folder takes it, which only one of several runs can make. One that somebody else has filled or removed
        since is not this run's any more.
        """
        kept = self.kept
        if kept.get("bundles") == str(self.bundles.resolve()):
            version = str(kept["version"])
            if (self.bundles / version).exists() and kept["manifest"] == self._manifest(version):
                return version
        self.bundles.mkdir(parents=True, exist_ok=True)
        while True:
            version = next_version(self.bundles.parent, self.bundles.name)
            with contextlib.suppress(FileExistsError):
                (self.bundles / version).mkdir()
                self.keep(version)
                return version

    def keep(self, version: str) -> None:
        """Note which version is this run's, and what is in it."""
        noted = {"bundles": str(self.bundles.resolve()), "version": version, "manifest": self._manifest(version)}
        self.folder.write(FILE, noted)

    def _manifest(self, version: str) -> str | None:
        path = self.bundles / version / "manifest.json"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
