"""A run's version of its bundle: taken once, kept over interruptions, never somebody else's."""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from training.bundlefolder import is_whole
from training.export import next_version
from training.runfolder import RunFolder

FILE = "version.json"


class VersionNumber:
    """The number of a run's bundle.

    Args:
        folder: the run's.
        bundles: the folder of the versions of its bundle, `<models>/<name>`.
        test: digest of the test set that the bundle's accuracy is measured on; empty if it does not matter.
    """

    def __init__(self, folder: RunFolder, bundles: Path, test: str = "") -> None:
        self.folder, self.bundles, self.test = folder, bundles, test

    @property
    def kept(self) -> dict[str, Any]:
        """What is noted: `bundles`, `version`, and SHA-256 of manifests: `manifest` of what is there, `coming`.

        And `test`, the digest of the test set that `manifest` tells the accuracy on; older runs have not noted it.
        """
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
            # the one announced, if the run was killed between putting it in its place and noting so
            ours = kept["manifest"], kept.get("coming", kept["manifest"])
            if (self.bundles / version).exists() and _manifest(self.bundles / version) in ours:
                return version
        self.bundles.mkdir(parents=True, exist_ok=True)
        while True:
            version = next_version(self.bundles.parent, self.bundles.name)
            with contextlib.suppress(FileExistsError):
                (self.bundles / version).mkdir()
                self.keep(version)
                return version

    def finished(self, version: str | None) -> Path | None:
        """The bundle that the run has ended with, if it is in its place, whole and nobody else's; else None.

        Also None if its accuracy is that on another test set.

        Args:
            version: the one that is wanted; by default whichever the run has taken.
        """
        kept = self.kept
        bundle = self.bundles / str(kept.get("version"))
        if kept.get("bundles") != str(self.bundles.resolve()) or version not in (None, bundle.name):
            return None
        if kept.get("test", self.test) != self.test:
            return None
        ours = kept.get("manifest") is not None and kept["manifest"] == _manifest(bundle)
        return bundle if ours and is_whole(bundle) else None

    def keep(self, version: str) -> None:
        """Note which version is this run's, and what is in it."""
        self._note(version, test=self.test)

    def announce(self, version: str, bundle: Path) -> None:
        """Note as well what is about to take its place: `bundle`, a folder that is whole."""
        # what is there still tells of the test set that was noted with it
        before = {key: value for key, value in self.kept.items() if key == "test"}
        self._note(version, coming=_manifest(bundle), **before)

    def _note(self, version: str, **more: str | None) -> None:
        place = str(self.bundles.resolve())
        noted = {"bundles": place, "version": version, "manifest": _manifest(self.bundles / version), **more}
        self.folder.write(FILE, noted)


def _manifest(bundle: Path) -> str | None:
    """SHA-256 of a bundle's manifest, if it has one."""
    path = bundle / "manifest.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
