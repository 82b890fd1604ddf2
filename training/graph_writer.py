"""Operators and arrays in, the nodes and initializers of an ONNX graph out."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from torch import Tensor


class GraphWriter:
    """Collects nodes and constants; an output is named after what it holds, a node after its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node; returns the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def split(self, x: str, outputs: list[str], axis: int) -> list[str]:
        """Append a node that cuts a tensor into equal parts; returns their names."""
        node = helper.make_node("Split", [x], outputs, name=f"{x}.split", axis=axis, num_outputs=len(outputs))
        self.nodes.append(node)
        return outputs

    def constant(self, name: str, value: Tensor | npt.NDArray[Any]) -> str:
        """Add an initializer; returns its name."""
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name
