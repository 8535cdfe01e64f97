"""The methods by name. `NAME` looks at the last layer before the classifier, `NAME@deep` at F."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from bas_edge.errors import InputError

from .eigen_cam import eigen_cam_at
from .gradients import grad_cam_at, layer_cam_at
from .linear_head import cam, grad_cam, layer_cam
from .method import BAS, Method
from .score_cam import score_cam_at

__all__ = ["METHOD_NAMES", "find_method"]

_GRAD_CAM = "Selvaraju et al., ICCV 2017, arXiv 1610.02391, eq. 1 and 2"
_LAYER_CAM = "Jiang et al., IEEE TIP 30, 2021, section III"
_EIGEN_CAM = "Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299, section III"

_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            BAS,
            Method(
                name="cam",
                title="CAM",
                source="Zhou et al., CVPR 2016, arXiv 1512.04150, eq. 2",
                layer="last",
                every_map=cam,
            ),
            Method(
                name="gradcam",
                title="Grad-CAM",
                source=_GRAD_CAM,
                layer="last",
                every_map=grad_cam,
                of_gradients=True,
            ),
            Method(
                name="gradcam@deep",
                title="Grad-CAM at F",
                source=_GRAD_CAM,
                layer="deep",
                class_map=partial(grad_cam_at, "deep"),
                of_gradients=True,
            ),
            Method(
                name="layercam",
                title="LayerCAM",
                source=_LAYER_CAM,
                layer="last",
                every_map=layer_cam,
                of_gradients=True,
            ),
            Method(
                name="layercam@deep",
                title="LayerCAM at F",
                source=_LAYER_CAM,
                layer="deep",
                class_map=partial(layer_cam_at, "deep"),
                of_gradients=True,
            ),
            Method(
                name="eigencam",
                title="Eigen-CAM",
                source=_EIGEN_CAM,
                layer="last",
                every_map=partial(eigen_cam_at, "last"),
                class_free=True,
            ),
            Method(
                name="eigencam@deep",
                title="Eigen-CAM at F",
                source=_EIGEN_CAM,
                layer="deep",
                every_map=partial(eigen_cam_at, "deep"),
                class_free=True,
            ),
            Method(
                name="scorecam",
                title="Score-CAM",
                source="Wang et al., CVPRW 2020, arXiv 1910.01279, algorithm 1",
                layer="last",
                class_map=partial(score_cam_at, "last"),
                many_passes=True,
            ),
        )
    }
)
METHOD_NAMES = tuple(_METHODS)


def find_method(name: str) -> Method:
    """The method called so.

    Raises:
        InputError: None is.
    """
    if name not in _METHODS:
        near = difflib.get_close_matches(name, METHOD_NAMES, n=1)
        raise InputError(
            f"There is no method '{name}'.",
            hint=f"Did you mean '{near[0]}'?"
            if near
            else f"The methods are: {', '.join(METHOD_NAMES)}.",
        )
    return _METHODS[name]
