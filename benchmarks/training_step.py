"""How fast is a training step? Ours beside dense autograd and beside the bare encoder convolution, which is the floor.

    python -m benchmarks.training_step [--case cifar10-layer1] [--device cpu|cuda] [--compile] [--json FILE]

Of each baseline the fastest of four ways counts. The dense step: contiguous or channels last (images and filters), the
winners found by `argmax` or as what equals its map's maximum; with --compile the same four compiled. The convolution:
contiguous or channels last, whole batch or cut so that its maps stay in cache. Before anything is timed, our gradients
are compared with those of every dense way; where two places of a map are nearly equal, rounding picks the winner, and
the dense ways differ among themselves as much.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.command import output_file, positive_int, run
from benchmarks.timing import alternate, machine, table, write_rows
from training import winners
from training.config import LayerConfig
from training.run import pick_device
from training.sca import SparseConvAutoencoder
from training.workers import alone


@dataclass(frozen=True)
class Case:
    """A layer of the paper and the batch it is trained with."""

    maps: int
    channels: int
    kernel: int
    size: int
    batch: int

    def gflop(self) -> float:
        """Of the encoder's forward convolution on the whole batch, in 1e9 operations."""
        return 2e-9 * self.batch * self.size**2 * self.maps * self.channels * self.kernel**2


CASES = {
    "mnist-layer1": Case(maps=128, channels=1, kernel=7, size=28, batch=128),
    "cifar10-layer1": Case(maps=512, channels=3, kernel=9, size=32, batch=64),
    "cifar10-layer2": Case(maps=4096, channels=512, kernel=5, size=8, batch=64),
    "cifar10-layer2-3x3": Case(maps=4096, channels=512, kernel=3, size=8, batch=64),
    "cifar10-layer2-on-128": Case(maps=4096, channels=128, kernel=3, size=8, batch=64),
}


def by_place(z: Tensor) -> Tensor:
    """1 where a map is largest, the first of equals, and 0 elsewhere: (N, M, H, W)."""
    flat = z.flatten(2)
    return torch.zeros_like(flat).scatter_(2, flat.argmax(2, keepdim=True), 1.0).view_as(z)


def by_value(z: Tensor) -> Tensor:
    """The same, but of equals all; where they are zeros, neither result nor gradient can tell."""
    return z == z.detach().amax((2, 3), keepdim=True)


def dense_loss(x: Tensor, parameters: Sequence[Tensor], winner: Callable[[Tensor], Tensor]) -> Tensor:
    """The step's loss as one would write it down, all of it dense; autograd has the gradients."""
    encoder, encoder_bias, decoder, decoder_bias = parameters
    pad = encoder.shape[-1] // 2
    z = functional.conv2d(x, encoder, encoder_bias, padding=pad).relu()
    reconstruction = functional.conv_transpose2d(z * winner(z), decoder, padding=pad) + decoder_bias[:, None, None]
    return (reconstruction - x).square().sum() / len(x)


def contiguous(tensor: Tensor) -> Tensor:
    """A copy that is contiguous in the strides of a single channel too: convolution picks its path by them."""
    return tensor.clone(memory_format=torch.contiguous_format)


def dense_steps(
    x: Tensor, filters: winners.Filters, loss: Callable[..., Tensor] = dense_loss
) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    """Ways to do the dense step; each returns dE/dP, dE/db, dE/dW, dE/db'."""
    steps: dict[str, Callable[[], tuple[Tensor, ...]]] = {}
    for layout, arrange in (("contiguous", contiguous), ("channels last", winners.channels_last)):
        image = arrange(x)
        given = [arrange(t) if t.ndim == 4 else t for t in (tensor.detach() for tensor in filters.tensors())]
        parameters = [tensor.detach().requires_grad_() for tensor in given]
        for winner in (by_place, by_value):
            steps[f"{layout}, {winner.__name__}"] = functools.partial(_gradients, loss, image, parameters, winner)
    return steps


def _gradients(
    loss: Callable[..., Tensor], x: Tensor, parameters: list[Tensor], winner: Callable[[Tensor], Tensor]
) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss(x, parameters, winner), parameters)


def largest_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest difference, relative to the largest value of each tensor."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))


def convolutions(x: Tensor, encoder: Tensor, bias: Tensor) -> dict[str, Callable[[], object]]:
    """Ways to run the encoder's forward convolution alone."""
    pad = encoder.shape[-1] // 2
    chunk = max(1, winners.CHUNK_BYTES // (4 * encoder.shape[0] * x.shape[2] * x.shape[3]))

    def whole(image: Tensor, filters: Tensor) -> object:
        return functional.conv2d(image, filters, bias, padding=pad)

    def cut(image: Tensor, filters: Tensor) -> object:
        return [functional.conv2d(part, filters, bias, padding=pad) for part in torch.split(image, chunk)]

    last = winners.channels_last(x), winners.channels_last(encoder)
    return {
        "conv contiguous": lambda: whole(x, encoder),
        "conv channels last": lambda: whole(*last),
        "conv contiguous, cut": lambda: cut(x, encoder),
        "conv channels last, cut": lambda: cut(*last),
    }


def fastest(times: Mapping[str, float], kind: str) -> float:
    """The least time of the ways whose names begin so."""
    return min(value for key, value in times.items() if key.startswith(kind))


def measure(name: str, device: torch.device, repeats: int, compiled: bool) -> dict[str, Any]:
    """One row of the table."""
    case = CASES[name]
    torch.manual_seed(0)
    layer = SparseConvAutoencoder(LayerConfig(case.maps, case.kernel, 5, 4), case.channels, seed=0).to(device)
    # activities of layer 2's input are never negative
    x = torch.rand(case.batch, case.channels, case.size, case.size, device=device)
    filters, gradients = layer.filters(), layer.gradients()
    dense = dense_steps(x, filters)
    winners.step(x, filters, gradients)
    error = max(largest_error(gradients.tensors(), step()) for step in dense.values())

    def ours() -> object:
        with alone():  # as in training
            return winners.step(x, filters, gradients)

    functions: dict[str, Callable[[], object]] = {
        "ours": ours,
        **{f"dense {way}": step for way, step in dense.items()},
        **convolutions(x, contiguous(filters.encoder), filters.encoder_bias),
    }
    if compiled:
        torch.compiler.reset()  # of another case's sizes it would generalise, and after eight forms give up
        steps = dense_steps(x, filters, torch.compile(dense_loss, dynamic=False))
        functions |= {f"compiled {way}": step for way, step in steps.items()}
    times = alternate(functions, repeats)
    dense_ms, conv_ms = fastest(times, "dense"), fastest(times, "conv")
    return {
        "case": name,
        "device": device.type,
        "ours_ms": times["ours"],
        "dense_ms": dense_ms,
        "compiled_ms": fastest(times, "compiled") if compiled else None,
        "conv_ms": conv_ms,
        "speedup": dense_ms / times["ours"],
        "over_conv": times["ours"] / conv_ms,
        "conv_gflops": 1e3 * case.gflop() / conv_ms,
        "gradient_error": f"{error:.0e}",
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, nargs="+", action="extend", help="all by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=positive_int, default=5)
    parser.add_argument("--compile", action="store_true", help="also the dense step under torch.compile")
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = options.case or list(CASES)
    device = pick_device(options.device)  # on a GPU in float32, as training is
    rows = [measure(name, device, options.repeats, options.compile) for name in cases]
    print(f"{machine()}, float32, median of {options.repeats}")
    print(table(rows))
    write_rows(options.json, rows)


if __name__ == "__main__":
    sys.exit(run(main))
