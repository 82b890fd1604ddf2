"""How fast are triangle k-means features? Ours beside the definition in torch, and the bare convolution: the floor.

    python -m benchmarks.triangle_kmeans [--maps 1600] [--images 64] [--threads 2] [--json FILE]

The definition takes an image's patches, normalises and whitens them, and has their distances to the centroids by one
matrix product. Patches are 6 x 6 x 3; the convolution is that of the raw pixels with as many filters as centroids. The
rate in 1e9 multiplications a second counts the products with the centroids only.
"""

import argparse
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.command import output_file, positive_int, run
from benchmarks.timing import alternate, machine, table, write_rows
from training.rivals.sampling import PatchWhitening, normalise_patches, sample_patches
from training.rivals.triangle import CHUNK_BYTES, Quadrants, TriangleEncoder
from training.sources import Pixels
from training.whitening import to_planes
from training.winners import channels_last

MAPS = (100, 400, 1600)
PATCH, PLACES = 6, 27 * 27


def drawn(count: int) -> Pixels:
    """Smooth noise, uint8 (N, 32, 32, 3)."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    planes = functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 255)
    return np.ascontiguousarray(planes.byte().permute(0, 2, 3, 1).numpy())


def definition(images: Pixels, centroids: Tensor, whitening: PatchWhitening) -> Tensor:
    """Coates et al. 2011 as they write it, image by image: (N, K * 4)."""
    flat = centroids.flatten(1)
    out = torch.empty(len(images), len(flat), 4)
    for image, row in zip(images, out, strict=True):
        patches = functional.unfold(to_planes(torch.from_numpy(image[None])), PATCH)[0].T
        x = whitening(normalise_patches(patches, 10.0))
        squares = x.square().sum(1, keepdim=True) - 2 * x @ flat.T + flat.square().sum(1)
        distances = squares.clamp(min=0).sqrt()
        triangle = (distances.mean(1, keepdim=True) - distances).clamp(min=0).view(27, 27, -1)
        halves = [part for rows in torch.split(triangle, [14, 13]) for part in torch.split(rows, [14, 13], dim=1)]
        row[:] = torch.stack([half.sum((0, 1)) for half in halves], 1)
    return out.flatten(1)


def measure(maps: int, count: int, repeats: int) -> dict[str, Any]:
    """One row of the table."""
    images = drawn(count)
    patches = normalise_patches(sample_patches(images, 20_000, PATCH, seed=0), 10.0)
    whitening = PatchWhitening.fit(patches, 0.1)
    centroids = whitening(patches[:maps]).view(-1, 3, PATCH, PATCH)
    encoder = TriangleEncoder(centroids, whitening, 10.0, Quadrants())
    planes, filters = channels_last(to_planes(torch.from_numpy(images))), channels_last(centroids)
    chunk = max(1, CHUNK_BYTES // (4 * PLACES * maps))
    found, expected = encoder.features(images), definition(images, centroids, whitening)
    times = alternate(
        {
            "ours": lambda: encoder.features(images),
            "definition": lambda: definition(images, centroids, whitening),
            "conv": lambda: [functional.conv2d(part, filters) for part in torch.split(planes, chunk)],
        },
        repeats,
    )
    rates = {name: 1e3 * count / ms for name, ms in times.items()}
    return {
        "maps": maps,
        "ours_images_s": rates["ours"],
        "definition_images_s": rates["definition"],
        "conv_images_s": rates["conv"],
        "speedup": rates["ours"] / rates["definition"],
        "over_conv": rates["conv"] / rates["ours"],
        "gmul_s": 1e-9 * rates["ours"] * PLACES * PATCH**2 * 3 * maps,
        "error": f"{float((found - expected).abs().max() / expected.abs().max()):.0e}",
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--maps", type=positive_int, nargs="+", action="extend", help=f"{', '.join(map(str, MAPS))} by default"
    )
    parser.add_argument("--images", type=positive_int, default=64)
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=positive_int, default=5)
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [measure(maps, options.images, options.repeats) for maps in options.maps or MAPS]
    print(f"{machine()}, float32, median of {options.repeats}")
    print(table(rows))
    write_rows(options.json, rows)


if __name__ == "__main__":
    sys.exit(run(main))
