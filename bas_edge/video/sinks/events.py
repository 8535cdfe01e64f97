"""Events of rules, without a video of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bas_edge.errors import InputError
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.event_rules import EventRule, RuleEvent, RuleWatch

__all__ = ["Events"]


class Events:
    """A sink that tells when a rule comes true: `Clips` without the clips.

    Args:
        rules: What counts as an event.
        on_event: Called with each event, from the thread that calls this sink.

    Raises:
        InputError: Two rules have one name.
    """

    def __init__(
        self, rules: Iterable[EventRule], *, on_event: Callable[[RuleEvent], None]
    ) -> None:
        self._watches = [RuleWatch(rule) for rule in rules]
        self._on_event = on_event
        names = [watch.rule.name for watch in self._watches]
        if len(set(names)) < len(names):
            raise InputError(
                f"The rules {names} share a name.", hint="Events are told apart by it."
            )

    @property
    def rules(self) -> tuple[EventRule, ...]:
        """What counts as an event."""
        return tuple(watch.rule for watch in self._watches)

    def write(self, result: FrameResult) -> None:
        """Tell the events that this result completes."""
        for watch in self._watches:
            event = watch.see(result)
            if event is not None:
                self._on_event(event)

    def event(self, event: StreamEvent) -> None:
        """States are no events of rules, but a dwell ends with some of them."""
        for watch in self._watches:
            watch.event(event)

    def close(self, *, complete: bool) -> None:
        """Nothing to finish."""
