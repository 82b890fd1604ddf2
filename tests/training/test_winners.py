"""Codes, their reconstruction and the step's edge cases."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training import winners, winners_torch
from training.winners import Backend, Code, Filters, decode, encode, step

BACKENDS: tuple[Backend, ...] = ("numba", "torch", "dense")
both = pytest.mark.parametrize("backend", BACKENDS)


def random_filters(maps: int, channels: int, kernel: int, seed: int = 0) -> Filters:
    draw = torch.Generator().manual_seed(seed)
    shape = (maps, channels, kernel, kernel)
    return Filters(
        torch.randn(shape, generator=draw),
        torch.randn(maps, generator=draw),
        torch.randn(shape, generator=draw),
        torch.randn(channels, generator=draw),
    )


def random_images(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def whole_numbers(*shape: int, seed: int) -> Tensor:
    """Small integers: every sum of them is exact in float32, in whatever order."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


@both
def test_a_code_is_each_maps_largest_activation_and_its_first_place(backend: Backend) -> None:
    images = whole_numbers(4, 2, 11, 9, seed=2)
    encoder, bias = whole_numbers(11, 2, 3, 3, seed=3), whole_numbers(11, seed=4) - 6
    filters = Filters(encoder, bias, torch.zeros(11, 2, 3, 3), torch.zeros(2))
    maps = functional.conv2d(images.double(), encoder.double(), bias.double(), padding=1)
    rows = maps.flatten(2)
    largest = rows.amax(2)
    first = (rows == largest[:, :, None]).int().argmax(2)
    assert ((rows == largest[:, :, None]).sum(2) > 1).any(), "the example has no ties"
    code = encode(images, filters, backend)
    assert torch.equal(code.positions, first.int())
    assert torch.equal(code.values.double(), largest.clamp(min=0))
    assert (code.values == 0).any() and (code.values > 0).any()
    assert code.values.dtype == torch.float32 and code.positions.dtype == torch.int32


@both
def test_the_first_of_equals_wins_in_a_constant_map(backend: Backend) -> None:
    filters = Filters(torch.ones(2, 1, 1, 1), torch.tensor([0.0, -9.0]), torch.ones(2, 1, 1, 1), torch.zeros(1))
    code = encode(torch.ones(3, 1, 4, 5), filters, backend)
    assert code.positions.tolist() == [[0, 0]] * 3
    assert code.values.tolist() == [[1.0, 0.0]] * 3


@both
def test_many_images_are_coded_as_each_alone(backend: Backend) -> None:
    filters = random_filters(64, 3, 5)
    images = random_images(70, 3, 32, 32)  # more than the feature maps made at a time
    together = encode(images, filters, backend)
    for index in (0, 31, 32, 69):
        alone = encode(images[index : index + 1], filters, backend)
        assert torch.equal(together.positions[index], alone.positions[0])
        torch.testing.assert_close(together.values[index], alone.values[0], rtol=1e-5, atol=1e-5)


@both
@pytest.mark.parametrize("size", [(7, 10), (2, 3)])
def test_decoding_is_the_transposed_convolution_of_the_sparse_maps(backend: Backend, size: tuple[int, int]) -> None:
    filters = random_filters(6, 2, 5)
    code = encode(random_images(3, 2, *size), filters, backend)
    maps = torch.zeros(3, 6, size[0] * size[1]).scatter_(2, code.positions.long()[:, :, None], code.values[:, :, None])
    expected = functional.conv_transpose2d(maps.view(3, 6, *size), filters.decoder, filters.decoder_bias, padding=2)
    torch.testing.assert_close(decode(code, filters, *size, backend), expected, rtol=1e-5, atol=1e-5)


@both
def test_an_orthonormal_dictionary_gives_its_atoms_back(backend: Backend) -> None:
    # maps that answer to one quadrant of an even image each: what is painted is what was seen
    atoms = torch.zeros(2, 1, 3, 3)
    atoms[0, 0, 1, 1] = atoms[1, 0, 0, 0] = 1
    filters = Filters(atoms, torch.zeros(2), atoms, torch.zeros(1))
    image = torch.zeros(1, 1, 6, 6)
    image[0, 0, 2, 4] = 5
    code = encode(image, filters, backend)
    assert code.values.tolist() == [[5.0, 5.0]]
    assert code.positions.tolist() == [[2 * 6 + 4, 3 * 6 + 5]]
    assert torch.equal(decode(code, filters, 6, 6, backend), 2 * image)


@both
def test_the_loss_is_the_mean_squared_error_of_the_decoded_code(backend: Backend) -> None:
    images, filters = random_images(4, 3, 8, 5), random_filters(7, 3, 7)
    loss, code = step(images, filters, filters.empty_like(), backend)
    error = decode(code, filters, 8, 5, backend) - images
    torch.testing.assert_close(loss, error.square().sum() / 4, rtol=1e-5, atol=0)
    again = encode(images, filters, backend)
    assert torch.equal(code.values, again.values) and torch.equal(code.positions, again.positions)


@both
def test_a_step_leaves_its_inputs_alone_and_forgets_old_gradients(backend: Backend) -> None:
    images, filters = random_images(2, 2, 6, 6), random_filters(5, 2, 3)
    before = [tensor.clone() for tensor in (images, *filters.tensors())]
    first, second = filters.empty_like(), filters.empty_like()
    for tensor in second.tensors():
        tensor.fill_(float("nan"))
    step(images, filters, first, backend)
    step(images, filters, second, backend)
    assert all(torch.equal(a, b) for a, b in zip(before, (images, *filters.tensors()), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors(), strict=True))


@both
def test_the_same_step_twice_gives_the_same_bits(backend: Backend) -> None:
    images, filters = random_images(32, 3, 16, 16), random_filters(48, 3, 9)
    runs = []
    for _ in range(3):
        gradients = filters.empty_like()
        loss, _ = step(images, filters, gradients, backend)
        runs.append((loss, *gradients.tensors()))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


@both
def test_the_number_of_threads_changes_nothing(backend: Backend) -> None:
    images, filters = random_images(7, 3, 16, 16), random_filters(50, 3, 9)
    runs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        gradients = filters.empty_like()
        loss, code = step(images, filters, gradients, backend)
        runs.append((loss, code.values, code.positions.float(), *gradients.tensors()))
    for run in runs[1:]:
        for one, other in zip(runs[0], run, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(one.abs().max()))


@both
@pytest.mark.parametrize("where", ["image", "encoder", "decoder"])
def test_a_nan_ends_in_the_loss_and_hangs_nothing(backend: Backend, where: str) -> None:
    images, filters = random_images(2, 1, 6, 6), random_filters(4, 1, 3)
    if where == "image":
        images[1, 0, 2, 3] = float("nan")
    else:
        getattr(filters, where)[2, 0, 1, 1] = float("nan")
        filters.encoder_bias[2] = 9  # the map is on
    loss, code = step(images, filters, filters.empty_like(), backend)
    assert torch.isnan(loss)
    assert code.positions.min() >= 0 and code.positions.max() < 36


def test_maps_taken_in_blocks_give_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    images, filters = random_images(3, 2, 9, 7), random_filters(11, 2, 5)
    whole, parts = filters.empty_like(), filters.empty_like()
    step(images, filters, whole, "torch")
    monkeypatch.setattr(winners_torch, "PATCH_BYTES", 3 * 4 * len(images) * filters.encoder[0].numel())  # three maps
    step(images, filters, parts, "torch")
    for one, other in zip(whole.tensors(), parts.tensors(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(one.abs().max()))


def test_the_processor_gets_the_compiled_loops() -> None:
    assert winners.backend_for(torch.device("cpu")) == "numba"


def test_a_gpu_gets_dense_convolutions_where_patches_are_large() -> None:
    assert winners.backend_for(torch.device("cuda"), 3) == "torch"
    assert winners.backend_for(torch.device("cuda"), 128) == "dense"


def test_a_code_that_is_off_paints_the_bias_only() -> None:
    filters = random_filters(3, 2, 3)
    code = Code(torch.zeros(1, 3), torch.tensor([[0, 5, 11]], dtype=torch.int32))
    for backend in BACKENDS:
        expected = filters.decoder_bias[:, None, None].expand(1, 2, 3, 4)
        assert torch.equal(decode(code, filters, 3, 4, backend), expected)
