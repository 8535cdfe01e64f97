import numpy as np
from numpy.typing import NDArray

def aggregate_maps(
    maps: NDArray[np.float32], scores: NDArray[np.float32], k: int, threads: int
) -> NDArray[np.float32]: ...
def upsample_maps(
    foreground: NDArray[np.float32], height: int, width: int, threads: int
) -> NDArray[np.float32]: ...
def maps_to_boxes(
    foreground: NDArray[np.float32],
    height: int,
    width: int,
    thresholds: NDArray[np.float32],
    mean_rule: bool,
    min_area: int,
    max_boxes: int,
    threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32]]: ...
def maps_to_masks(
    foreground: NDArray[np.float32],
    height: int,
    width: int,
    thresholds: NDArray[np.float32],
    mean_rule: bool,
    threads: int,
) -> NDArray[np.bool_]: ...
def scores_to_masks(
    scores: NDArray[np.float32], height: int, width: int, threads: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]: ...
def repeat_pixels(
    mask: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]: ...
def resize_frame(frame: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]: ...
def available_paths() -> list[str]: ...
def active_path() -> str: ...
def set_path(name: str) -> None: ...
