"""The BAS model: trunk, generator, tail and class head."""

from __future__ import annotations

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bas_edge.errors import InputError

from .backbone import Features
from .config import Conventions, ModelConfig
from .heads import ClassHead, Generator
from .layers import ConvUnit, initialise_backbone, normalise, scaled
from .registry import find_backbone
from .seams import Seam

__all__ = ["BasModel", "build_model"]


class BasModel(nn.Module):
    """Background Activation Suppression (arXiv 2112.00580) on one backbone.

    Attributes:
        config: Everything needed to build this module again.
        pixels: What the trunk gets passes here.
        trunk: Frames -> features at the map stride: F, and finer ones for the generator.
        generator: Features -> one foreground prediction map per class.
        tail, head: F (whole, or with parts erased) -> class activation maps.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        backbone = find_backbone(config.architecture)
        if problem := backbone.problem(config):
            raise InputError(problem)
        self.config = config
        self.pixels = Seam()
        self.trunk, self.tail = backbone.build(config)
        self.head = ClassHead(
            self.tail.channels,
            config.num_classes,
            kind=config.head,
            hidden=scaled(1024, config.width),
            rectified=config.rectified,
        )
        self.generator = Generator(
            self.trunk.channels, self.trunk.fine_channels, config.num_classes, kind=config.head
        )
        if not backbone.foreign:
            initialise_backbone(self.trunk)
            initialise_backbone(self.tail)

    def set_conventions(self, conventions: Conventions) -> None:
        """Adopt the normalisation, activation and padding of a pretrained backbone."""
        self.config = msgspec.structs.replace(self.config, conventions=conventions)
        for module in self.modules():
            if isinstance(module, ConvUnit):
                module.conventions = conventions

    def set_shift(self, pixels: int) -> None:
        """Move frames to the left before the backbone; negative moves them to the right."""
        self.config = msgspec.structs.replace(self.config, shift_x=pixels)

    def set_input_size(self, side: int) -> None:
        """Take frames of another size: no weight depends on it, so this is only described.

        Raises:
            ValueError: `side` is no multiple of 16, or too small for the shift.
        """
        self.config = msgspec.structs.replace(self.config, input_size=side)

    def features(self, frames: Tensor) -> Features:
        """RGB pixels 0 to 255 [N, 3, H, W], any dtype -> Features of h x w cells."""
        x = normalise(frames, self.config.conventions)
        up = self.trunk.displacement
        left = up + self.config.shift_x
        if up or left:
            x = F.pad(x, (-left, left, -up, up) if up else (-left, left))
        return self.trunk(self.pixels(x))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """What is exported: RGB pixels 0 to 255 [N, 3, H, W] -> logits [N, C], maps [N, C, h, w].

        Maps are foreground prediction maps, in (0, 1), in class order.
        """
        features = self.features(frames)
        logits = self.head.logits(self.tail(features.deep))
        return logits, torch.sigmoid(self.generator(features))

    def activation_maps(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The class-activation-map baseline: logits [N, C] and CAMs of the tail's cells."""
        maps = self.head(self.tail(self.features(frames).deep))
        return maps.mean((2, 3)), maps


def build_model(config: ModelConfig) -> BasModel:
    """A freshly initialised model (from torch's global generator: seed it first).

    Raises:
        InputError: There is no such architecture, or not with these options.
    """
    return BasModel(config)
