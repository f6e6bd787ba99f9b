"""What several tests of runs share."""

import os
import signal

import pytest

from sweeps.host.progress import Display


@pytest.fixture
def interrupted(monkeypatch):
    """Calls something that gets Ctrl-C after some spans."""

    def stop(spans, call):
        shown, chunk = [], Display.chunk

        def counted(*arguments):
            chunk(*arguments)
            shown.append(arguments)
            if len(shown) == spans:
                os.kill(os.getpid(), signal.SIGINT)

        with monkeypatch.context() as patched:
            patched.setattr(Display, "chunk", counted)
            with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
                call()

    return stop
