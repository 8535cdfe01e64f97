"""Find the main object in an image or a video, with boxes learnt from image labels only.

    import bas_edge

    with bas_edge.Localizer("birds.engine") as localizer:
        result = localizer.run(frame)  # uint8 [H, W, 3] RGB
        print(result.class_name, result.score, result.box)

Each name below is imported from its module when it is first used (PEP 562), so
`import bas_edge` costs next to nothing and loads no inference library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bas_edge import errors

if TYPE_CHECKING:
    from bas_edge.engine.build import build_engine
    from bas_edge.engine.bundle import open_engine
    from bas_edge.evaluation import evaluate
    from bas_edge.localizer import Localizer
    from bas_edge.results import Localization, Timing
    from bas_edge.segmentation.result import Segmentation
    from bas_edge.segmenter import Segmenter

__all__ = [
    "Localization",
    "Localizer",
    "Segmentation",
    "Segmenter",
    "Timing",
    "__version__",
    "build_engine",
    "errors",
    "evaluate",
    "open_engine",
]

__version__ = "0.1.0"

_HOME = {
    "Localization": "bas_edge.results",
    "Localizer": "bas_edge.localizer",
    "Segmentation": "bas_edge.segmentation.result",
    "Segmenter": "bas_edge.segmenter",
    "Timing": "bas_edge.results",
    "build_engine": "bas_edge.engine.build",
    "evaluate": "bas_edge.evaluation",
    "open_engine": "bas_edge.engine.bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bas_edge' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
