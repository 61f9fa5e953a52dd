"""The autoencoder: strided convolutions down to a short embedding, and back up to the picture."""

from __future__ import annotations

import io
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lenswatch.config import TransformConfig
from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.reference.pictures import encoder_input

__all__ = ["Autoencoder", "TorchEncoder", "encode"]

CHANNELS = (16, 32, 48, 64)
STRIDE = 32  # input pixels for each pixel of the last feature map: 4 * 2 * 2 * 2


class Autoencoder(nn.Module):
    """A convolutional autoencoder for pictures of one size.

    Any height and width can be used: the input is padded to multiples of 32 and the output is cropped.
    At 216 x 384 pixels and 32 dimensions it has about 0.5 million parameters.

    Attributes:
        size: Height and width of the pictures.
        latent_dim: Length of an embedding.
        encoder: (n, 3, height, width) to (n, latent_dim).
        decoder: (n, latent_dim) to a reconstruction, before it is cropped.
    """

    def __init__(self, size: tuple[int, int] = (216, 384), latent_dim: int = 32) -> None:
        super().__init__()
        self.size = size
        self.latent_dim = latent_dim
        rows, columns = (math.ceil(side / STRIDE) for side in size)
        features = CHANNELS[-1] * rows * columns
        a, b, c, d = CHANNELS
        self.encoder = nn.Sequential(
            _pad_to_multiple(size),
            nn.Conv2d(3, a, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(a, b, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(b, c, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, d, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(features, latent_dim),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, features),
            nn.ReLU(),
            nn.Unflatten(1, (d, rows, columns)),
            nn.ConvTranspose2d(d, c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(c, b, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(b, a, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(a, 3 * 16, 3, padding=1),
            nn.PixelShuffle(4),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction of (n, 3, height, width), and the embeddings (n, latent_dim)."""
        embedding = self.encoder(x)
        height, width = self.size
        return self.decoder(embedding)[..., :height, :width], embedding


def _pad_to_multiple(size: tuple[int, int]) -> nn.Module:
    height, width = size
    return nn.ReplicationPad2d((0, -width % STRIDE, 0, -height % STRIDE))


def encode(encoder: nn.Module, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the embeddings (n, latent_dim) of (n, 3, height, width) float32, without gradients."""
    parameter = next(encoder.parameters(), None)
    device = "cpu" if parameter is None else parameter.device
    with torch.inference_mode():
        found = encoder(torch.from_numpy(planes).to(device)).cpu()
        embeddings: npt.NDArray[np.float32] = found.numpy()
    return embeddings


class TorchEncoder:
    """The encoder of an autoencoder, as a `lenswatch.reference.encoder.Encoder`.

    Args:
        autoencoder: The trained network, in evaluation mode.
        transform: Normalisation of the pixels.
    """

    def __init__(self, autoencoder: Autoencoder, transform: TransformConfig) -> None:
        self.autoencoder = autoencoder
        self.transform = transform

    def __call__(self, pixels: Pixels, /) -> Floats32:
        """Return the embedding, (d,), of (height, width, 3) uint8."""
        planes = encoder_input(pixels, self.transform)
        return np.asarray(encode(self.autoencoder.encoder, planes[None])[0])

    def weights(self) -> bytes:
        """Return the state dict as torch saves it."""
        buffer = io.BytesIO()
        torch.save(self.autoencoder.state_dict(), buffer)
        return buffer.getvalue()
