"""Writing of an autoencoder's encoder as an ONNX model, which needs torch and the package onnx.

The network is known, so that its nodes are written down one by one. torch's own exporter needs another
package, takes seconds, and leaves the normalisation of pixels to its caller.

Sums of the last layer have thousands of terms. They are added in float64, which costs little and makes
embeddings more exact than those of torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper
from torch import Tensor, nn

from lenswatch.config import TransformConfig
from lenswatch.reference.autoencoder import STRIDE, Autoencoder
from lenswatch.reference.onnx_encoder import OUTPUT, PIXELS

__all__ = ["encoder_model"]

# Versions that onnxruntime has read since 1.14, of February 2023.
_OPERATORS, _FORMAT = 17, 8


def encoder_model(autoencoder: Autoencoder, transform: TransformConfig) -> bytes:
    """Return an ONNX model of the encoder: pixels (n, height, width, 3) uint8 to (n, d) float32.

    Args:
        autoencoder: The trained network.
        transform: Normalisation of the pixels, which becomes part of the first convolution.
    """
    height, width = autoencoder.size
    graph = _Graph()
    graph.node("Pad", graph.constant("edges", _edges(height, width)), mode="edge")
    graph.node("Cast", to=TensorProto.FLOAT)
    graph.node("Transpose", perm=(0, 3, 1, 2))
    for module in autoencoder.encoder:
        if isinstance(module, nn.Conv2d):
            weight, bias = _array(module.weight), _array(module.bias)
            if module.in_channels == 3:
                weight, bias = _normalising(weight, bias, transform)
            inputs = graph.constant("weight", weight), graph.constant("bias", bias)
            pads = [int(side) for side in module.padding] * 2
            graph.node("Conv", *inputs, strides=module.stride, pads=pads)
        elif isinstance(module, nn.ReLU):
            graph.node("Relu")
        elif isinstance(module, nn.Flatten):
            graph.node("Flatten")
        elif isinstance(module, nn.Linear):
            both = (_array(each).astype(np.float64) for each in (module.weight, module.bias))
            terms = [graph.constant(f"linear{i}_", each) for i, each in enumerate(both)]
            graph.node("Cast", to=TensorProto.DOUBLE)
            graph.node("Gemm", *terms, transB=1)
            graph.node("Cast", to=TensorProto.FLOAT)
        elif not isinstance(module, nn.ReplicationPad2d):  # which comes first, see above
            raise TypeError(f"the encoder has a layer {module} that has no ONNX node here")
    return bytes(graph.model((height, width), autoencoder.latent_dim).SerializeToString())


class _Graph:
    """Nodes in a row, each with the result of the one before as its first input."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._last = PIXELS

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a constant, and return its name."""
        name = f"{name}{len(self._nodes)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> None:
        """Add a node."""
        result = f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, [self._last, *inputs], [result], **attributes))
        self._last = result

    def model(self, size: tuple[int, int], dimensions: int) -> ModelProto:
        """Return the checked model."""
        self._nodes[-1].output[0] = OUTPUT
        given = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["n", *size, 3])
        found = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", dimensions])
        graph = helper.make_graph(self._nodes, "encoder", [given], [found], self._constants)
        operators = [helper.make_opsetid("", _OPERATORS)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=_FORMAT)
        checker.check_model(model, full_check=True)
        return model


def _edges(height: int, width: int) -> NDArray[np.int64]:
    """Return how far (n, height, width, 3) is padded at its ends."""
    return np.array([0, 0, 0, 0, 0, -height % STRIDE, -width % STRIDE, 0], np.int64)


def _array(values: Tensor | None) -> NDArray[np.float32]:
    assert values is not None
    return np.asarray(values.detach().numpy(), np.float32)


def _normalising(
    weight: NDArray[np.float32], bias: NDArray[np.float32], transform: TransformConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights for pixels of 0 to 255, in place of those for (pixels / 255 - mean) / std."""
    mean, std = (
        np.asarray(each, np.float64)[:, None, None] for each in (transform.mean, transform.std)
    )
    scaled = weight / (255 * std)
    moved = bias - (weight * (mean / std)).sum(axis=(1, 2, 3))
    return scaled.astype(np.float32), moved.astype(np.float32)
