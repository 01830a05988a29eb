"""Heads: features to logits."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Features of pixels to one logit a class.

    `forward` takes (B, F, H, W) and gives (B, K, H, W) float32, K in the order of the classes.
    """

    name: str

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Arguments, as JSON values, that make a head of the same shape again; its tensors are
        loaded after."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor: ...


class ConvHead(Head):
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
