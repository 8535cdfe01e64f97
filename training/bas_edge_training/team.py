"""The processes of one run, as torchrun starts them: which there are, and what they agree on.

Small things (counts, figures, flags, what a file holds) travel between CPUs over gloo. Gradients
are the concern of gradient_sum.py; those on GPUs travel over NCCL.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from bas_edge.errors import InputError
from bas_edge_training.team_failure import PeerError, explained, lost_contact

__all__ = ["ALONE", "Team", "join_team", "launched_team"]

_PATIENCE = timedelta(minutes=10)  # with one that hangs; one that died is noticed at once
_ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_runs = itertools.count()  # keeps what one run leaves in the store apart from the next

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Team:
    """One process among those of a run. Each method is called by all of them, in one order.

    Attributes:
        rank, size: Which process this is: 0 to size - 1. Process 0 logs, draws and saves.
        local_rank, local_size: The same among the processes of this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes, in float64."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(summed)
        return [float(value) for value in summed]

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Which flags are set in at least one process."""
        return [value > 0 for value in self.total(flags)]

    def gather(self, value: T) -> list[T]:
        """What each process gives, by rank."""
        if self.size == 1:
            return [value]
        found: list[T] = [value] * self.size
        dist.all_gather_object(found, value)
        return found

    def once(self, make: Callable[[], T]) -> T:
        """What `make` returns in process 0, everywhere.

        Raises:
            PeerError: In the other processes, where `make` raises in process 0.
        """
        if self.size == 1:
            return make()
        made: list[tuple[T] | None] = [None]
        try:
            if self.leads:
                made = [(make(),)]
        finally:
            dist.broadcast_object_list(made, src=0)
        if made[0] is None:
            raise PeerError(f"Process 0 of {self.size} failed.")
        return made[0][0]

    def shared(self, items: Sequence[Item], run: Callable[[Item], T]) -> list[T]:
        """`run` of every item, in order: each process runs its share, all get every result."""
        parts = self.gather([run(item) for item in items[self.rank :: self.size]])
        return [parts[at % self.size][at // self.size] for at in range(len(items))]

    def copy_from_lead(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of process 0."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def must_agree(self, what: str, value: str, *, hint: str) -> None:
        """Raise InputError in every process where one has another value than process 0."""
        values = self.gather(value)
        for rank, theirs in enumerate(values):
            if theirs != values[0]:
                raise InputError(
                    f"Process 0 has {what} {values[0]}, process {rank} has {theirs}.", hint=hint
                )


ALONE = Team()


def launched_team() -> Team:
    """The team that this process was started for, by torchrun or what sets its variables."""
    if not all(os.environ.get(name) for name in _ENVIRONMENT):
        return ALONE
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return Team(
        rank,
        size,
        local_rank=int(os.environ.get("LOCAL_RANK", rank)),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", size)),
    )


@contextlib.contextmanager
def join_team() -> Iterator[Team]:
    """Meet the other processes of `launched_team`. Without others nothing is done.

    Raises:
        InputError: The caller has a process group of its own.
        PeerError: In place of whatever this process ends with because another one has failed, or
            because another one of this machine says the same; or the others did not come.
    """
    team = launched_team()
    if team.size == 1:
        yield ALONE
        return
    if dist.is_initialized():
        raise InputError(
            "torch.distributed has a process group already, and training makes its own.",
            hint="Call train() before init_process_group(), or after destroy_process_group().",
        )
    store, gpus = _meet(team)
    lost = False
    try:
        yield team
    except (Exception, KeyboardInterrupt) as error:
        lost = lost_contact(error)
        raise explained(
            error, store, team.rank, team.size, first=team.rank - team.local_rank
        ) from error
    finally:
        _part(abort=lost and gpus)


def _meet(team: Team) -> tuple[Store, bool]:
    """Make the process group; the store for last words, and whether it has NCCL.

    Raises:
        PeerError: Another process did not come, or cannot be reached.
    """
    try:
        store, _, _ = next(iter(rendezvous("env://", timeout=_PATIENCE)))
        # torchrun's store may outlive a restart, and what it holds of those who were there before.
        start = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{team.size}/{next(_runs)}"
        store = PrefixStore(f"bas-edge/{start}", store)
        # A machine whose driver does not work has no NCCL, and the others would wait for its.
        store.set(f"gpus/{team.rank}", str(torch.cuda.is_available()))
        gpus = all(store.get(f"gpus/{rank}") == b"True" for rank in range(team.size))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=store,
            rank=team.rank,
            world_size=team.size,
            timeout=_PATIENCE,
        )
    except RuntimeError as error:
        host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
        minutes = _PATIENCE.total_seconds() / 60
        raise PeerError(
            f"Process {team.rank} of {team.size} (counted from 0) did not meet the others at "
            f"{host}:{port} within {minutes:.0f} minutes: {str(error).splitlines()[0]}",
            hint="Start all of them by torchrun, on machines that reach each other; for a run of "
            "one process unset RANK and WORLD_SIZE.",
        ) from error
    return store, gpus


def _part(*, abort: bool) -> None:
    """Leave the process group; `abort` does not wait for work of NCCL with one that is gone."""
    give_up = getattr(distributed_c10d, "_abort_process_group", None)  # since torch 2.6
    if abort and give_up is not None:
        give_up()
    else:
        dist.destroy_process_group()
