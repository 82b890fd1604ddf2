"""A bundle's folder: what is there stays until what takes its place is there."""

from pathlib import Path

import pytest

from training.bundlefolder import replacing


def test_interrupted_between_the_two_renames_the_old_version_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "some" / "1"
    with replacing(target) as folder:
        (folder / "file").write_text("old")
    rename = Path.rename

    def stopped(path: Path, to: Path) -> Path:
        if to == target and path.name == target.name:
            raise KeyboardInterrupt
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt), replacing(target) as folder:
        (folder / "file").write_text("new")
    assert (target / "file").read_text() == "old" and [entry.name for entry in target.parent.iterdir()] == ["1"]
    monkeypatch.undo()
    with replacing(target) as folder:
        (folder / "file").write_text("new")
    assert (target / "file").read_text() == "new" and [entry.name for entry in target.parent.iterdir()] == ["1"]
