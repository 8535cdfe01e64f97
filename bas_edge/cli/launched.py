"""What verbs do differently where torchrun has started several processes of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping

import typer

from bas_edge.cli.output import skipped_text
from bas_edge.errors import PartialFailureError

__all__ = ["tell_skipped", "told_once"]


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """End without a word where another process of this machine tells why."""
    from bas_edge_training.team_failure import PeerError

    try:
        yield
    except PeerError as error:
        if error.told:
            raise typer.Exit(error.exit_code) from None
        raise


def tell_skipped(skipped: Mapping[str, str], *, hint: str) -> None:
    """Say which images (path -> reason) were skipped.

    Raises:
        PartialFailureError: Some were. With several processes it is a note instead, as any exit
            code but 0 is a crash for torchrun, which would start anew.
    """
    from bas_edge_training.team import launched_team

    if not skipped:
        return
    path, reason = next(iter(skipped.items()))
    what = f"{skipped_text(len(skipped))}; the first: {path}: {reason}"
    if launched_team().size == 1:
        raise PartialFailureError(what, hint=hint)
    print(f"note: {what}", file=sys.stderr)
