"""`lenswatch adopt` with encoders that Lenswatch did not make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import SIZE, camera_pixels, small_config
from lenswatch.config import TransformConfig
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.pictures import encoder_input

# torch would rather have torch.export; the files are there nevertheless.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
JIT: Any = torch.jit
TRANSFORM = TransformConfig(resize=SIZE)


class Tutorial(nn.Module):
    """A network as a tutorial defines it: it answers with the reconstruction and the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Tanh(), nn.Flatten())
        self.head = nn.Linear(4 * (SIZE[0] // 8) * (SIZE[1] // 8), 6)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 0.5, self.head(self.encoder(x))


@pytest.fixture
def network() -> Tutorial:
    torch.manual_seed(3)
    return Tutorial().eval()


def embedding(network: Tutorial, i: int) -> Any:
    with torch.inference_mode():
        return network(torch.from_numpy(encoder_input(camera_pixels(i), TRANSFORM)[None]))[1][0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torchscript", "torch.export", "onnx", "class"])
def test_any_encoder_is_adopted(
    kind: str, network: Tutorial, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = tmp_path / "pair"
    pair.mkdir()
    file, options = pair / "autoencoder.pth", list[str]()
    example = torch.zeros(1, 3, *SIZE)
    if kind == "torchscript":
        JIT.save(JIT.trace(network, example), str(file))
    elif kind == "torch.export":
        with file.open("wb") as opened:
            torch.export.save(torch.export.export(network, (example,)), opened)
    elif kind == "onnx":
        file.write_bytes(as_onnx(network))
    else:
        torch.save(network.state_dict(), file)
        (tmp_path / "mine.py").write_text("from test_adopt_network import Tutorial\n")
        module = type(torch)("test_adopt_network")
        module.Tutorial = Tutorial  # type: ignore[attr-defined]
        monkeypatch.setitem(__import__("sys").modules, "test_adopt_network", module)
        monkeypatch.syspath_prepend(str(tmp_path))
        options = ["--network", "mine:Tutorial"]
    torch.save(
        torch.stack([embedding(network, i) for i in range(40)]), pair / "clean_embeddings.pth"
    )
    ended = run("adopt", *options, pair)
    assert ended.exit_code == 0, ended.output
    reference = load_reference(small_config(tmp_path).storage_path)
    expected = embedding(network, 50).numpy()
    assert reference.encoder(camera_pixels(50)) == pytest.approx(expected, abs=1e-5)
    (tmp_path / "one.png").write_bytes(png(50))
    judged = run("predict", tmp_path / "one.png")
    assert judged.exit_code == 0, judged.output


def test_an_encoder_of_other_embeddings_is_refused(
    network: Tutorial, run: Any, tmp_path: Path
) -> None:
    JIT.save(JIT.trace(network, torch.zeros(1, 3, *SIZE)), str(tmp_path / "autoencoder.pth"))
    rows = np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32)
    torch.save(torch.from_numpy(rows), tmp_path / "clean_embeddings.pth")
    ended = run("adopt", tmp_path)
    assert ended.exit_code == 1
    assert "makes 18432, 6 values of a picture, but the embeddings have 9" in ended.output


def as_onnx(network: Tutorial) -> bytes:
    """Return the network in ONNX, written down by hand."""
    from onnx import TensorProto, helper, numpy_helper

    state = {
        key: numpy_helper.from_array(value.numpy(), key)
        for key, value in network.state_dict().items()
    }
    nodes = [
        helper.make_node(
            "Conv", ["x", "encoder.0.weight", "encoder.0.bias"], ["c"], strides=[8, 8]
        ),
        helper.make_node("Tanh", ["c"], ["t"]),
        helper.make_node("Flatten", ["t"], ["f"]),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["e"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *SIZE])],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, [1, 6])],
        list(state.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def png(i: int) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(camera_pixels(i)).save(buffer, "PNG")
    return buffer.getvalue()
