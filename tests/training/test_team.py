"""What the processes of a run do before they have met, and when they part."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch.distributed as dist
from torch.distributed import distributed_c10d

from bas_edge_training import team
from bas_edge_training.team import join_team
from bas_edge_training.team_failure import PeerError

Launched = Callable[..., None]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Launched:
    """Set what torchrun sets."""

    def launch(rank: int, size: int, port: int) -> None:
        for name, value in (("RANK", rank), ("WORLD_SIZE", size), ("MASTER_PORT", port)):
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")

    return launch


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_left_alone_says_where_it_waited(
    rank: int, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team, "_PATIENCE", timedelta(seconds=1))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        port = nobody.getsockname()[1]
        if rank == 0:
            nobody.close()
        launched(rank, 2, port)
        with pytest.raises(PeerError) as caught, join_team():
            pass
    said = str(caught.value)
    assert said.startswith(
        f"Process {rank} of 2 (counted from 0) did not meet the others at 127.0.0.1:{port} within "
    )
    assert len(said.splitlines()) == 1
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("error", "gpus", "way"),
    [
        (RuntimeError("[gloo] Connection closed by peer"), True, "abort"),
        (RuntimeError("[gloo] Connection closed by peer"), False, "destroy"),
        (ValueError("a mistake"), True, "destroy"),
        (None, True, "destroy"),
    ],
)
def test_only_who_lost_another_on_gpus_gives_up_the_work_under_way(
    error: Exception | None,
    gpus: bool,
    way: str,
    launched: Launched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NCCL would wait for it."""
    ways: list[str] = []
    monkeypatch.setattr(
        distributed_c10d, "_abort_process_group", lambda: ways.append("abort"), raising=False
    )
    monkeypatch.setattr(dist, "destroy_process_group", lambda: ways.append("destroy"))
    store = SimpleNamespace(set=lambda *_: None, check=lambda _: True, get=lambda _: b"")
    monkeypatch.setattr(team, "_meet", lambda _: (store, gpus))
    launched(0, 2, 1)
    try:
        with join_team():
            if error is not None:
                raise error
    except (PeerError, ValueError):
        assert error is not None
    assert ways == [way]
