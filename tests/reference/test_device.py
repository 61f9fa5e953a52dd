"""The device that trains. What a GPU computes is tested where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SIZE, camera_pixels, write_settings
from lenswatch.config import EncoderConfig, TransformConfig, load_config
from lenswatch.errors import ConfigError
from lenswatch.reference.device import CPU, SAME, chosen_device, farthest
from lenswatch.reference.embedding import embed, embed_on
from lenswatch.reference.training import train
from support.strict import BY_DESIGN

TRANSFORM = TransformConfig(resize=SIZE)
GPUS = [name for name in ("cuda", "mps") if getattr(torch, name).is_available()]


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_said_before_training(name: Any) -> None:
    if name in GPUS:
        pytest.skip(f"{BY_DESIGN}there is one")
    pixels = np.stack([camera_pixels(i) for i in range(20)])
    with pytest.raises(ConfigError, match=f'encoder.device = "{name}": torch .* no such device'):
        train(pixels, TRANSFORM, EncoderConfig(latent_dim=8, epochs=1, device=name))


def test_auto_is_a_gpu_if_there_is_one() -> None:
    assert chosen_device("auto").type == (GPUS[0] if GPUS else "cpu")
    assert chosen_device("cpu") == CPU


def test_another_name_is_no_setting(tmp_path: Path) -> None:
    file = write_settings(tmp_path)
    file.write_text(file.read_text().replace("[encoder]", '[encoder]\ndevice = "gpu"'))
    with pytest.raises(ConfigError, match=r"encoder\.device = 'gpu': must be"):
        load_config(file)


def test_the_difference_is_a_share_of_the_largest_value() -> None:
    by_cpu = np.array([[1.0, -4.0], [2.0, 0.0]], np.float32)
    assert farthest(by_cpu, by_cpu) == 0
    assert farthest(by_cpu + np.float32(0.1), by_cpu) == pytest.approx(0.025, rel=1e-3)
    assert farthest(0 * by_cpu, 0 * by_cpu) == 0


@pytest.mark.skipif(not GPUS, reason=f"{BY_DESIGN}there is no GPU")
@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_says_what_the_cpu_says(name: Any) -> None:
    pixels = np.stack([camera_pixels(i) for i in range(40)])
    settings = EncoderConfig(latent_dim=8, epochs=3, batch_size=8, device=name)
    autoencoder = train(pixels, TRANSFORM, settings)
    assert {parameter.device for parameter in autoencoder.parameters()} == {CPU}
    device = chosen_device(name)
    by_cpu = embed(autoencoder, pixels, TRANSFORM)
    assert farthest(embed_on(device, autoencoder, pixels, TRANSFORM), by_cpu) <= SAME
    assert farthest(embed(autoencoder, pixels, TRANSFORM, device=device), by_cpu) <= SAME
