"""How several processes end where one of them fails: who tells what to the user.

Each leaves its last words in the store of the rendezvous, which with torchrun outlives all of them.
One that has lost contact reads there why; one without last words was killed, or hangs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from bas_edge.errors import BasEdgeError

__all__ = ["PeerError", "explained", "lost_contact", "when_contact_is_lost"]

_LOST = ""  # the last words of those who have only lost contact
_WAIT_S = 1.0  # for the last words of another
_WAIT_FOR_SEVERAL_S = 15.0  # torchrun kills those that have not ended after 30
_POLL_S = 0.02


class PeerError(BasEdgeError):
    """Another process of the run has failed.

    Attributes:
        told: Another process of this machine tells it, so that this one need not.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, told: bool = False, exit_code: int = 1
    ) -> None:
        super().__init__(message, hint=hint)
        self.told = told
        self.exit_code = exit_code


def lost_contact(error: BaseException) -> bool:
    """Whether an error says that another process is not there: gloo's are plain RuntimeErrors."""
    if isinstance(error, (PeerError, dist.DistError)):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error).lower()


@contextlib.contextmanager
def when_contact_is_lost(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` where the block ends because another process has gone; the error goes on."""
    try:
        yield
    except RuntimeError as error:
        if lost_contact(error):
            act()
        raise


def explained(
    error: BaseException, store: Store, rank: int, size: int, *, first: int
) -> BaseException:
    """What process `rank` should raise in place of `error`; `first` is the first of its machine.

    Takes at most some seconds.
    """
    lost = lost_contact(error)
    own = _LOST if lost else str(error) or type(error).__name__
    words: dict[int, str] = {}
    with contextlib.suppress(RuntimeError):  # the store may be gone too, with process 0's machine
        store.set(_key(rank), own)
        others = [other for other in range(size) if other != rank]
        # Who has words of its own only wants to know if the same have been said.
        words = _last_words(store, others if lost else [r for r in others if first <= r < rank])
    told = any(first <= other < rank for other in words)
    if lost:
        return _why(error, words, rank, size, told)
    if told and any(words.get(other) == own for other in range(first, rank)):
        code: Any = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
        return PeerError(own, told=True, exit_code=code)
    return error


def _why(
    error: BaseException, words: dict[int, str], rank: int, size: int, told: bool
) -> PeerError:
    """The error of a process that has lost contact."""
    failed = [other for other, said in words.items() if said != _LOST]
    silent = [other for other in range(size) if other != rank and other not in words]
    if failed:
        found = PeerError(
            f"Process {failed[0]} of {size} (counted from 0) failed: {words[failed[0]]}",
            hint="Mend that, then go on from the last save with --resume.",
        )
    elif silent:
        one = len(silent) == 1
        found = PeerError(
            f"{'Process' if one else 'Processes'} {', '.join(map(str, silent))} of {size} "
            f"(counted from 0) no longer {'answers' if one else 'answer'}: killed, out of memory, "
            "or hanging.",
            hint="Look at the last output there and at the system's log, then go on from the last "
            "save with --resume.",
        )
    else:
        found = PeerError(
            f"The {size} processes have lost contact: {error}.",
            hint="Look at the network between the machines, then go on with --resume.",
        )
    found.told = told
    return found


def _last_words(store: Store, ranks: list[int]) -> dict[int, str]:
    """What others have left.

    A process that is only slow takes a while to notice, so all but one are waited for; that one
    has probably failed, and if it left any words, it did so before contact was lost.
    """
    words: dict[int, str] = {}
    began = time.monotonic()
    while len(words) < len(ranks):
        waited_s = time.monotonic() - began
        if waited_s > (_WAIT_S if len(words) == len(ranks) - 1 else _WAIT_FOR_SEVERAL_S):
            break
        time.sleep(_POLL_S)
        for rank in ranks:
            if rank not in words and store.check([_key(rank)]):
                words[rank] = store.get(_key(rank)).decode()
    return words


def _key(rank: int) -> str:
    return f"last-words/{rank}"
