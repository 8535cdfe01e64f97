"""Whether a network could be exported, tried before it is trained."""

from __future__ import annotations

import numpy as np

from bas_edge.errors import BasEdgeError
from bas_edge_training.graph import contract_graph
from bas_edge_training.models import BasModel
from bas_edge_training.parity import run_in_batches
from bas_edge_training.validation import evaluation_mode

__all__ = ["export_problem"]

_FRAMES = 4  # run as 1 and 3: a batch of 2, on which the graph is captured, must not be built in


def export_problem(model: BasModel) -> str | None:
    """Why `export` will refuse a network of this structure, in one line; None if it will not.

    Its graph is written and run on black frames; weights do not matter. The model is on the CPU,
    and left as it was.
    """
    side = model.config.input_size
    try:
        with evaluation_mode(model):
            graph = contract_graph(model)
        run_in_batches(graph, np.zeros((_FRAMES, side, side, 3), np.uint8))
    except BasEdgeError as error:
        return str(error).strip().splitlines()[0]
    return None
