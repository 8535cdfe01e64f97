"""What a pipeline hands its results to."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.event_rules import RuleEvent

__all__ = ["NotifiedSink", "Sink"]


class Sink(Protocol):
    """Takes the results of one stream, or of several.

    A pipeline calls each sink from one thread of its own, which a slow sink holds up alone:
    results wait in a bounded queue. Where the stream loses no frame (policy "wait"), the stream
    then waits too; otherwise the sink misses results, which are counted.

    A sink with event rules may show them as `rules`, and the score that it asks for as
    `min_score`: then a pipeline refuses what its engine does not give, a class that it does not
    have or a score of a Segmenter.

    What a method raises ends this sink and nothing else; the pipeline reports it. A sink that can
    do without something for a while, such as a broker, raises nothing, and says in attributes,
    which are read from any thread: `problem`, a sentence, or "" while all is well; `dropped`, how
    much it gave up.
    """

    def write(self, result: FrameResult) -> None:
        """One result, in the order of its stream's frames. `result.frame.pixels` is shared."""
        ...

    def event(self, event: StreamEvent) -> None:
        """A stream changed its state; in order with its results."""
        ...

    def close(self, *, complete: bool) -> None:
        """Finish what was written, so that it can be used; nothing comes after it.

        Args:
            complete: False where the pipeline was stopped or failed before its streams ended, or
                one that has an end of its own ended with an error.
        """
        ...


@runtime_checkable
class NotifiedSink(Sink, Protocol):
    """A sink that other sinks tell of the events of their rules.

    A pipeline closes it after the others, so that their last events still arrive.
    """

    def notify(self, event: RuleEvent) -> None:
        """A rule came true. On any thread, at any time, and it raises nothing."""
        ...
