"""What became of a member."""

import enum


class Status(enum.StrEnum):
    """What became of a member, as tables have it.

    Attributes:
        PENDING: it has not been trained yet.
        RUNNING: it is done with a round of a schedule and goes on in the next, or with the steps that the run
            had before it was given more.
        DONE: it was trained to the last step.
        STOPPED: a schedule stopped it.
        DIVERGED: its loss or a parameter was not finite any more, or its loss too large.
        FAILED: it could not be trained.
    """

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"


UNFINISHED = (Status.PENDING, Status.RUNNING)
LOST = (Status.DIVERGED, Status.FAILED)
