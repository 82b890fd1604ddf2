"""What training says will be served is what the service takes."""

import json
from pathlib import Path

from service.bundle import find_versions
from training.served import announcement


def test_the_version_that_training_announces_is_the_one_that_the_service_takes(tmp_path: Path) -> None:
    bundles = tmp_path / "some"
    for version in ("2", "9", "10", ".11", "12"):
        (bundles / version).mkdir(parents=True)
        if version != "12":  # taken by a run that has not ended
            (bundles / version / "manifest.json").write_text(json.dumps({}))
    assert find_versions(tmp_path)["some"] == ["10", "9", "2"]
    said = announcement(bundles / "10")
    assert said is not None and said.endswith("served from the next start on, instead of version 9")
