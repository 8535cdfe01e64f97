"""What a model is, in a form that a checkpoint can store as JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["CHECKPOINT_KEY", "TENSORFLOW", "TIMM", "TORCHVISION", "Conventions", "ModelConfig"]

CHECKPOINT_KEY = "bas_edge"  # metadata of our safetensors: JSON that describes the weights


class Conventions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the backbone's weights expect to be used. A pretrained file decides it.

    Attributes:
        mean, std: x = (pixel - mean) / std per RGB channel, on pixels 0 to 255.
        activation: After every backbone convolution. MobileNets of TensorFlow use relu6.
        padding: Of stride-2 convolutions. "tf_same" pads even sides below and to the right
            only; "symmetric" pads 1 everywhere.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    activation: Literal["relu6", "relu"]
    padding: Literal["tf_same", "symmetric"]


TENSORFLOW = Conventions(
    mean=(128.0, 128.0, 128.0), std=(128.0, 128.0, 128.0), activation="relu6", padding="tf_same"
)
TORCHVISION = Conventions(
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    activation="relu",
    padding="symmetric",
)
TIMM = Conventions(  # of its MobileNetV1s; the files themselves do not say
    mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5), activation="relu6", padding="symmetric"
)


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Architecture of one BAS model.

    Attributes:
        architecture: Name of the backbone.
        width: Channel multiplier of the backbone, above 0 and at most 2.
        head: "paper": the published head (two 3x3 convolutions of 1024 channels, then 1x1)
            and generator (3x3). "edge": one depthwise-separable convolution each, a tenth
            of the arithmetic.
        num_classes: C.
        map_stride: Pixels of the input to one cell of the maps. 8 is the published form, and
            that of checkpoints which do not say; 16 has a quarter of the cells.
        atrous: Dilate the depthwise filters behind the removed stride, so that pretrained ones
            read what they were trained on. False is the published form. At map stride 16 no
            stride is removed, and both are the same network.
        centred: Pad so that maps are displaced by half a pixel, not by 3.5 as in the published
            form, which is also that of checkpoints which do not say.
        norm: "batch" keeps BatchNorm in the backbone (training from scratch); "none" is for
            pretrained weights with BatchNorm folded into them.
        input_size: Side of the square network input, in pixels.
        conventions: Normalisation, activation and padding of the backbone.
        shift_x: Pixels by which frames are moved to the left before the backbone, so that maps
            lie on their objects. Measured after training (`bas_edge_training.alignment`).
    """

    architecture: Literal["mobilenet_v1"] = "mobilenet_v1"
    width: float = 1.0
    head: Literal["paper", "edge"] = "edge"
    num_classes: int
    map_stride: Literal[8, 16] = 8
    atrous: bool = True
    centred: bool = False
    norm: Literal["none", "batch"] = "none"
    input_size: int = 224
    conventions: Conventions = TENSORFLOW
    shift_x: int = 0

    @property
    def reads_as_trained(self) -> bool:
        """Whether filters of the original backbone read the cells that they were trained on."""
        return self.atrous or self.map_stride == 16

    def __post_init__(self) -> None:
        if not 0 < self.width <= 2:
            raise ValueError(f"width must be above 0 and at most 2, got {self.width}")
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if self.map_stride not in (8, 16):
            raise ValueError(f"map_stride must be 8 or 16, got {self.map_stride}")
        if self.input_size < 16 or self.input_size % 16:
            raise ValueError(f"input_size must be a multiple of 16, got {self.input_size}")
        if abs(self.shift_x) > self.input_size // 4:
            raise ValueError(
                f"shift_x must be at most a quarter of {self.input_size}, got {self.shift_x}"
            )
