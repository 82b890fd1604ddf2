"""A stereo model takes its images in pairs."""

import io
from pathlib import Path

import numpy as np

from service.app import create_app
from tests.bundles import write_bundle
from tests.conftest import TestClient, metric, ready, settings
from tests.pictures import pixels, png


def test_stereo_models_take_images_in_pairs(tmp_path: Path) -> None:
    write_bundle(tmp_path, "norb-shallow", color_mode="L", views=2)
    with TestClient(create_app(settings(tmp_path, default_model="norb-shallow"))) as client:
        ready(client)
        files = [("images", png(n, channels=1)) for n in range(4)]
        whole = client.post("/features", files=files)
        assert whole.json()["shape"] == [2, 288]
        assert client.post("/features", files=files[:3]).status_code == 400
        stacked = np.stack([pixels(2, channels=1), pixels(3, channels=1)], axis=2)[None]
        stream = io.BytesIO()
        np.save(stream, stacked)
        array = client.post("/features", content=stream.getvalue(), headers={"Content-Type": "application/x-npy"})
        np.testing.assert_allclose(array.json()["features"][0], whole.json()["features"][1], rtol=1e-5)
        broken = [*files[:1], ("images", b"no"), *files[2:]]
        skipped = client.post("/features?on_error=skip", files=broken).json()
        assert skipped["indices"] == [1] and [error["index"] for error in skipped["errors"]] == [1]
        np.testing.assert_allclose(skipped["features"][0], whole.json()["features"][1], rtol=1e-5)
        counted = {
            outcome: metric(client, "sca_images_total", model="norb-shallow", outcome=outcome)
            for outcome in ("ok", "decode_error", "unsupported", "rejected", "malformed")
        }
        # four in files, three refused, two in an array, and of four one broken beside its sound other view
        assert counted == {"ok": 4 + 2 + 2, "decode_error": 0, "unsupported": 1, "rejected": 1, "malformed": 3}
        assert metric(client, "sca_inflight_images") == 0
