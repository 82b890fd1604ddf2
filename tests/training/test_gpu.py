"""The CUDA paths beside the processor's; skipped, loudly, without a GPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.drawn import config, dataset, layer
from training import winners
from training.pipeline import Pipeline
from training.sca import SparseConvAutoencoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NO GPU HERE: the CUDA paths of training are not tested"),
]
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize("channels", [3, 64])
def test_a_step_on_the_gpu_has_the_gradients_of_the_processor(channels: int) -> None:
    autoencoder = SparseConvAutoencoder(layer(maps=32, kernel=5), channels, seed=0)
    images = torch.randn(8, channels, 20, 24, generator=torch.Generator().manual_seed(1))
    filters = autoencoder.filters()
    expected, actual = filters.empty_like(), winners.Filters(*(t.to(CUDA) for t in filters.empty_like().tensors()))
    loss, code = winners.step(images, filters, expected)
    on_gpu = winners.Filters(*(t.to(CUDA) for t in filters.tensors()))
    gpu_loss, gpu_code = winners.step(images.to(CUDA), on_gpu, actual)
    assert torch.equal(gpu_code.positions.cpu(), code.positions)
    torch.testing.assert_close(gpu_loss.cpu(), loss, rtol=1e-5, atol=0)
    for one, other in zip(actual.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_a_run_on_the_gpu_ends_with_a_bundle_that_agrees(tmp_path: Path) -> None:
    made = []
    for device in (torch.device("cpu"), CUDA):
        folder = tmp_path / device.type
        summary = Pipeline(config(), dataset(), folder / "run", folder / "models", "test", device=device).run()
        with np.load(summary.bundle / "filters.npz") as filters:
            made.append(filters["layer1_decoder"])
    np.testing.assert_allclose(made[0], made[1], rtol=0, atol=0.05 * np.abs(made[0]).max())
