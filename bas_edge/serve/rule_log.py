"""Event rules of the configuration, for the list of events."""

from __future__ import annotations

from collections.abc import Iterable

from bas_edge.serve.event_log import EventLog
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.event_rules import EventRule, RuleWatch

__all__ = ["RuleLog"]


class RuleLog:
    """A sink that notes when a rule comes true.

    Args:
        rules: What is watched for.
        log: Where it is noted.
    """

    def __init__(self, rules: Iterable[EventRule], log: EventLog) -> None:
        self._watches = [RuleWatch(rule) for rule in rules]
        self._log = log

    def write(self, result: FrameResult) -> None:
        """Note the events that this result completes."""
        for watch in self._watches:
            event = watch.see(result)
            if event is not None:
                self._log.add(event)

    def event(self, event: StreamEvent) -> None:
        """Noted elsewhere; a dwell ends with some of them."""
        for watch in self._watches:
            watch.event(event)

    def close(self, *, complete: bool) -> None:
        """Nothing to finish."""
