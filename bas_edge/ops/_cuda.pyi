"""The CUDA kernels. In builds without CUDA there is no such module. Addresses are integers."""

architectures: str
toolkit: str
SCORE_NAN: int
SCORE_INFINITE: int
MEAN_NOT_FINITE: int
FOREGROUND_NOT_FINITE: int

class AggregateMaps:
    status: int
    def __init__(self, max_images: int, classes: int, cells: int, k: int) -> None: ...
    def run(self, maps: int, scores: int, images: int, foreground: int, stream: int) -> None: ...

class MapsToBoxes:
    def __init__(
        self,
        max_images: int,
        map_height: int,
        map_width: int,
        height: int,
        width: int,
        mean_rule: bool,
        min_area: int,
        max_boxes: int,
    ) -> None: ...
    def run(
        self,
        foreground: int,
        thresholds: int,
        threshold: float,
        images: int,
        records: int,
        stride: int,
        masks: int,
        stream: int,
    ) -> None: ...
    def upsample(self, foreground: int, images: int, pixels: int, stream: int) -> None: ...

class LocalizeMaps:
    foreground: int
    def __init__(
        self,
        form: str,
        classes: int,
        maps: int,
        top_k: int,
        threshold: float,
        max_images: int,
        map_height: int,
        map_width: int,
        height: int,
        width: int,
        mean_rule: bool,
        min_area: int,
        max_boxes: int,
    ) -> None: ...
    def run(
        self,
        logits: int,
        maps: int,
        images: int,
        records: int,
        stride: int,
        masks: int,
        stream: int,
    ) -> None: ...

class YuvCoefficients:
    def __init__(
        self,
        offset: int,
        luma: int,
        v_to_red: int,
        u_to_green: int,
        v_to_green: int,
        u_to_blue: int,
    ) -> None: ...

class ResizeFrame:
    def __init__(
        self,
        frame_height: int,
        frame_width: int,
        shown: tuple[int, int, int, int],
        height: int,
        width: int,
        target: tuple[int, int, int, int],
        padding: int,
        swap_channels: bool,
    ) -> None: ...
    def run(
        self,
        pixels: int,
        pitch: int,
        chroma: int,
        chroma_pitch: int,
        yuv: YuvCoefficients,
        input: int,  # noqa: A002  (the network's input)
        stream: int,
    ) -> None: ...
