"""Heads: features to what a task makes its answer of."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """What is fitted on top of an encoder."""

    name: str
    is_local = True
    """Whether what it says of a pixel depends on the features there alone."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Arguments, as JSON values, that make a head of the same shape again; its tensors are
        loaded after."""


class DenseHead(Head):
    """Features to numbers of each pixel, one pixel as the other.

    `forward` takes (B, F, H, W) and gives (B, K, H, W) float32, K as many as `Task.outputs`: logits
    in the order of the classes, or what the task says. A chip as a whole is an image of one pixel.
    """

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor: ...


class ConvHead(DenseHead):
    """A 1 x 1 convolution; what a network's features end in."""

    name = "conv"

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.channels, self.classes = channels, classes
        self.layer = nn.Conv2d(channels, classes, kernel_size=1)

    def config(self) -> dict[str, Any]:
        return {"channels": self.channels, "classes": self.classes}

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layer(features)
        return logits.float()
