"""How fast is a training step? Ours beside dense autograd and beside the bare encoder convolution, which is the floor.

    python -m benchmarks.training_step [--case cifar10-layer1] [--device cpu|cuda] [--compile] [--json FILE]

The convolution is timed four ways (contiguous or channels last, whole batch or cut so that its maps stay in cache) and
the fastest counts. Gradients are compared with those of dense autograd before anything is timed.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

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


def dense_step(x: Tensor, parameters: list[Tensor]) -> Tensor:
    """The step as one would write it down: all of it dense, the gradient by autograd."""
    encoder, encoder_bias, decoder, decoder_bias = parameters
    pad = encoder.shape[-1] // 2
    z = functional.conv2d(x, encoder, encoder_bias, padding=pad).relu()
    flat = z.flatten(2)
    winner = torch.zeros_like(flat).scatter_(2, flat.argmax(2, keepdim=True), 1.0).view_as(z)
    reconstruction = functional.conv_transpose2d(z * winner, decoder, padding=pad) + decoder_bias[:, None, None]
    loss = (reconstruction - x).square().sum() / len(x)
    for parameter in parameters:
        parameter.grad = None
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return loss


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


def measure(name: str, device: torch.device, repeats: int, compiled: bool) -> dict[str, Any]:
    """One row of the table."""
    case = CASES[name]
    torch.manual_seed(0)
    layer = SparseConvAutoencoder(LayerConfig(case.maps, case.kernel, 5, 4), case.channels, seed=0).to(device)
    # activities of layer 2's input are never negative
    x = torch.rand(case.batch, case.channels, case.size, case.size, device=device)
    filters, gradients = layer.filters(), layer.gradients()
    dense = [t.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for t in filters.tensors()]
    winners.step(x, filters, gradients)
    dense_step(x, dense)
    error = max(
        float((ours - theirs.grad).abs().max() / theirs.grad.abs().max())
        for ours, theirs in zip(gradients.tensors(), dense, strict=True)
        if theirs.grad is not None
    )

    def ours() -> object:
        with alone():  # as in training
            return winners.step(x, filters, gradients)

    functions: dict[str, Callable[[], object]] = {
        "ours": ours,
        "dense": lambda: dense_step(x, dense),
        **convolutions(x, dense[0].detach(), dense[1].detach()),
    }
    if compiled:
        fast = torch.compile(dense_step)
        functions["compiled"] = lambda: fast(x, dense)
    times = alternate(functions, repeats)
    conv = min(value for key, value in times.items() if key.startswith("conv"))
    return {
        "case": name,
        "device": device.type,
        "ours_ms": times["ours"],
        "dense_ms": times["dense"],
        "compiled_ms": times.get("compiled"),
        "conv_ms": conv,
        "speedup": times["dense"] / times["ours"],
        "over_conv": times["ours"] / conv,
        "conv_gflops": 1e3 * case.gflop() / conv,
        "gradient_error": f"{error:.0e}",
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append", help="all by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also the dense step under torch.compile")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = options.case or list(CASES)
    device = pick_device(options.device)  # on a GPU in float32, as training is
    rows = [measure(name, device, options.repeats, options.compile) for name in cases]
    print(f"{machine()}, float32, median of {options.repeats}")
    print(table(rows))
    write_rows(options.json, rows)


if __name__ == "__main__":
    main()
