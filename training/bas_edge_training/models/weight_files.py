"""Files of weights that somebody else wrote. Nothing in them is ever executed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bas_edge.errors import InputError

from .config import Conventions

__all__ = ["read_weights", "stated_conventions"]

_ACTIVATIONS: dict[str, Literal["relu6", "relu"]] = {"relu6": "relu6", "relu": "relu"}
_FACTS = (int, float, str, np.number)
_OBJECT = re.compile(r"GLOBAL ([\w.]+)")  # which torch would not load
_WRAPPERS = ("state_dict", "model")  # keys under which training scripts keep the state dict


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, without any `module.` before them, and what else the file says.

    Reads safetensors, or what `torch.save` wrote, with `weights_only=True`. Of a state dict that
    is wrapped, the numbers and words beside it (such as its epoch) are among what it says.

    Raises:
        InputError: The file is missing, unreadable, cut off, no state dict, or holds objects
            other than tensors.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file of weights.", hint="Name the file in it.")
    if not path.is_file():
        raise InputError(f"The pretrained file {path} does not exist.", hint="Check the path.")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118  (not a dict)
        with torch.serialization.safe_globals(_numpy_scalars()):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).partition(". ")[0].strip(" .") or "it is empty"  # then torch advises
        raise InputError(
            f"{path} cannot be read as weights: {reason}.", hint="Cut off? Copy it again."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # of bytes that are no pickle, torch's unpickler raises anything
        if type(error).__name__ == "UnpicklingError":
            raise _refused(path, str(error)) from error
        raise _not_torch_s(path) from error
    facts: dict[str, str] = {}
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            facts |= {k: str(v) for k, v in state.items() if isinstance(v, _FACTS)}
            state = state[key]
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}, not a state dict of tensors.")
    tensors = {str(key).removeprefix("module."): value for key, value in state.items()}
    return {key: value for key, value in tensors.items() if isinstance(value, Tensor)}, facts


def _refused(path: Path, words: str) -> InputError:
    """Of torch's paragraphs, which advise to load the file all the same, only what is in it."""
    if "Unsupported operand" in words:
        return _not_torch_s(path)
    found = _OBJECT.search(words)
    return InputError(
        f"{path} holds more than tensors, and loading it could run code: "
        f"{found[1] if found else 'an object'}.",
        hint="Save its state_dict as safetensors and pass that file.",
    )


def _not_torch_s(path: Path) -> InputError:
    return InputError(
        f"{path} cannot be read as weights: it is nothing that torch.save wrote.",
        hint="A web page instead of the file? Download it again.",
    )


def _numpy_scalars() -> list[Any]:
    """What a NumPy number is pickled with: published files keep a threshold so."""
    number = np.float64(0)
    rebuild = number.__reduce__()[0]
    return [rebuild, np.dtype, type(number.dtype), type(np.float32(0).dtype)]


def stated_conventions(metadata: Mapping[str, str], default: Conventions) -> Conventions:
    """From the file's own metadata where it speaks of them, else the family's."""
    padding = metadata.get("padding", "").lower()
    activation = metadata.get("activation", "").lower()
    return Conventions(
        mean=_triple(metadata.get("input_mean"), default.mean),
        std=_triple(metadata.get("input_std"), default.std),
        activation=_ACTIVATIONS.get(activation, default.activation),
        padding="tf_same" if "same" in padding else default.padding,
    )


def _triple(text: str | None, default: tuple[float, float, float]) -> tuple[float, float, float]:
    if not text:
        return default
    value = json.loads(text)
    values = [float(v) for v in value] if isinstance(value, list) else [float(value)] * 3
    return (values[0], values[1], values[2])
