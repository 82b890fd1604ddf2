"""A machine is named with what makes it fast."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from training import reporting
from training.export import OnnxModel
from training.reporting import processor
from training.splits import Split

LINES = "processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu {}\n\nprocessor\t: 1\nmodel name\t: Another\n"


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("sse2", "A Processor"),
        ("avx avx2 fma", "A Processor (AVX2)"),
        ("avx2 avx_vnni", "A Processor (AVX2, VNNI)"),
        ("avx2 avx512f avx512_vnni avx512_bf16", "A Processor (AVX-512, VNNI, bfloat16)"),
    ],
)
def test_a_processor_has_a_name_and_instructions(tmp_path: Path, flags: str, name: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(LINES.format(flags))
    assert processor(path) == name


@pytest.mark.parametrize("count", [1, 99, 100, 101, 201])
@pytest.mark.parametrize("side", [8, 400])
def test_every_test_image_counts(count: int, side: int) -> None:
    labels = np.arange(count, dtype=np.int64) % 2
    images = np.zeros((count, side, side, 1), np.uint8)
    images[:, 0, 0, 0] = labels
    images[-1, 0, 0, 0] = 1 - labels[-1]  # one is wrong, the last
    batches: list[int] = []

    def run(pixels: np.ndarray) -> tuple[None, np.ndarray]:
        batches.append(len(pixels))
        return None, np.eye(2)[pixels[:, 0, 0, 0]]

    accuracy = reporting.test_accuracy(Split(images, labels), cast(OnnxModel, run))
    assert accuracy == pytest.approx(100 * (count - 1) / count) and sum(batches) == count
    assert max(batches) * side * side <= max(reporting.TEST_PIXELS, side * side)


def test_a_processor_without_a_file_has_a_name(tmp_path: Path) -> None:
    assert processor(tmp_path / "none")
