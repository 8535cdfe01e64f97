"""What a model is, in a form that a checkpoint can store as JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "CHECKPOINT_KEY",
    "HALVES",
    "IMAGENET_RELU6",
    "TENSORFLOW",
    "TIMM",
    "TORCHVISION",
    "Conventions",
    "ModelConfig",
]

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
IMAGENET_RELU6 = Conventions(  # MobileNetV2 of torchvision and timm
    mean=TORCHVISION.mean, std=TORCHVISION.std, activation="relu6", padding="symmetric"
)
HALVES = Conventions(  # InceptionV3 of torchvision and timm; BAS uses TORCHVISION for it too
    mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5), activation="relu", padding="symmetric"
)
TIMM = Conventions(  # of its MobileNetV1s; the files themselves do not say
    mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5), activation="relu6", padding="symmetric"
)


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Architecture of one BAS model.

    Attributes:
        architecture: Name of the backbone, see `backbone_names`.
        width: Channel multiplier of the backbone, above 0 and at most 2.
        head: "paper": the published head (two 3x3 convolutions of 1024 channels, then 1x1)
            and generator (3x3). "edge": one depthwise-separable convolution each, a tenth
            of the arithmetic. "segmentation": that of BAS for segmentation, a 1x1 class head and
            a 3x3 generator, both without biases.
        num_classes: C.
        map_stride: Pixels of the input to one cell of the maps. 8 is the published form, and
            that of checkpoints which do not say; 16 has a quarter of the cells.
        atrous: Dilate the filters behind the removed stride, so that pretrained ones read what
            they were trained on. False is the published form. Where no stride is removed (VGG16;
            map stride 16, but for the head "segmentation"), both are the same network.
        centred: Pad so that maps are displaced by at most half a pixel, not by several (3.5 in
            MobileNets) as in the published form, which is that of checkpoints which do not say.
        norm: "batch" keeps BatchNorm in the backbone (training from scratch); "none" is for
            pretrained weights with BatchNorm folded into them.
        input_size: Side of the square network input, in pixels.
        conventions: Normalisation, activation and padding of the backbone. The default suits
            MobileNetV1; another one's are `find_backbone(architecture).conventions`.
        shift_x: Pixels by which frames are moved to the left before the backbone, so that maps
            lie on their objects. Measured after training (`bas_edge_training.alignment`).
        rectified: Class maps pass a ReLU before their mean is the logit, as in the first release
            of BAS. Not so in the paper, in BAS-Extension, and here.
    """

    architecture: str = "mobilenet_v1"
    width: float = 1.0
    head: Literal["paper", "edge", "segmentation"] = "edge"
    num_classes: int
    map_stride: Literal[8, 16] = 8
    atrous: bool = True
    centred: bool = False
    norm: Literal["none", "batch"] = "none"
    input_size: int = 224
    conventions: Conventions = TENSORFLOW
    shift_x: int = 0
    rectified: bool = False

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
