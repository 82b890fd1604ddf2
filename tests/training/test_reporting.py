"""A machine is named with what makes it fast."""

from pathlib import Path

import pytest

from training.reporting import processor

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


def test_a_processor_without_a_file_has_a_name(tmp_path: Path) -> None:
    assert processor(tmp_path / "none")
