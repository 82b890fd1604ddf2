"""A finished run in, the lines out that it ends with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.presets import paper_figure


@dataclass(frozen=True)
class Summary:
    """What a run ends with.

    Attributes:
        bundle: the bundle's folder.
        manifest: what its `manifest.json` says.
        stages: seconds each stage took, over all attempts.
    """

    bundle: Path
    manifest: Mapping[str, Any]
    stages: Mapping[str, float]

    def text(self) -> str:
        """Accuracy, size, time and place, a line each."""
        facts = self.manifest
        accuracy, training = facts["accuracy"], facts["training"]
        figure = paper_figure(facts["dataset"], accuracy["paper"], [layer["maps"] for layer in facts["layers"]])
        stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in self.stages.items())
        size = sum(file["bytes"] for file in facts["files"].values())
        lines = (
            f"test {accuracy['metric']:9} {accuracy['value']:.2f} %" + (f" (paper: {figure})" if figure else ""),
            f"features       {facts['feature_dim']:,}",
            f"dead maps      {training['dead_maps']}",
            f"time           {sum(self.stages.values()):.0f} s: {stages}",
            f"peak memory    {training['peak_memory_mib']:,} MiB",
            f"bundle         {self.bundle} ({size / 1e6:.1f} MB)",
        )
        return "\n".join(lines)
