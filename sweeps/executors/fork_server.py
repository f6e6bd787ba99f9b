"""A process in which JAX is never used, so that workers can be forked off it in milliseconds.

JAX runs threads, which a fork would lose, so the process of a run cannot fork workers itself.
"""

import contextlib
import os
import pickle
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from sweeps.engine.failure import describe
from sweeps.errors import StudyError
from sweeps.executors.worker import SETTINGS, Worker, adopt, settings_of
from sweeps.host.devices import jax_is_used, limit_threads

NUMBER = struct.Struct("q")
CACHE = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")  # which is on this host


class ForkServer(NamedTuple):
    """The server, as the process of the run sees it.

    Attributes:
        control: a socket, whose end is the server's.
        copied: whether it, and so each worker, began as a copy of this process, with the modules it had.
    """

    control: socket.socket
    copied: bool = False

    def fork(self) -> tuple[Connection, int]:
        """A new worker: what connects to it, and its process id.

        Raises:
            StudyError: the server is gone.
        """
        mine, theirs = socket.socketpair()
        with contextlib.ExitStack() as last:
            last.callback(mine.close)
            with theirs, _there():
                socket.send_fds(self.control, [b"fork"], [theirs.fileno()])
                pid = self._number()
            last.pop_all()
        return Connection(mine.detach()), pid

    def ended(self, pid: int) -> str:
        """How a worker ended, once it has.

        Args:
            pid: its process id.

        Raises:
            StudyError: the server is gone.
        """
        with _there():
            self.control.sendall(NUMBER.pack(pid))
            status = self._number()
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"ended with status {status}"

    def _number(self) -> int:
        received = self.control.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(received) < NUMBER.size:
            raise ConnectionError("nothing came")
        return NUMBER.unpack(received)[0]


@contextlib.contextmanager
def _there() -> Iterator[None]:
    """Says that the server is gone, which no reader of an error about a pipe would think of.

    Raises:
        StudyError: it is.
    """
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"`the process that workers are forked off is there` must hold, but it has ended ({error}); "
            f"something killed it, and `sweeps resume` goes on"
        ) from error


@contextlib.contextmanager
def serving() -> Iterator[ForkServer]:
    """A server, which ends with the block and with this process, and so do all workers.

    It is a copy of this process if that has no threads that would be lost, JAX's or Python's; otherwise a new
    one, which imports what this one has on its path.
    """
    mine, theirs = socket.socketpair()
    with mine, theirs:
        copied = not jax_is_used() and threading.active_count() == 1
        if not copied:
            settings = settings_of((*SETTINGS, *CACHE))
            # Python itself passes over what is no string, such as a Path.
            path = os.pathsep.join(place or os.getcwd() for place in sys.path if isinstance(place, str))
            # -P: modules of the folder that it runs in must not come before those that this process has.
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", "sweeps.executors.fork_server", str(theirs.fileno())],
                env=os.environ | {"PYTHONPATH": path}, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE,
                process_group=0,  # out of Ctrl-C's reach while it begins
            )  # fmt: skip
            assert server.stdin is not None  # it was asked for
            with server.stdin as stdin:
                stdin.write(pickle.dumps(settings))
            end = server.wait
        else:
            pid = _fork()
            if pid == 0:
                mine.close()
                serve(theirs)
            end = lambda: os.waitpid(pid, 0)  # noqa: E731
        theirs.close()
        try:
            yield ForkServer(mine, copied)
        finally:
            mine.close()
            end()


def serve(control: socket.socket) -> None:
    """Forks workers and says how they end, until the other end of the socket is closed.

    Args:
        control: the socket.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process of the run deals with it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    workers = []
    try:
        while True:
            asked, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1)
            if not asked:
                break
            if descriptors:
                pid = _fork()
                if pid == 0:
                    control.close()
                    attend(Connection(descriptors[0]))
                workers.append(pid)
                os.close(descriptors[0])
                control.sendall(NUMBER.pack(pid))
            else:
                # It stays a zombie, so that no other process takes its number while the run may use it.
                found = os.waitid(os.P_PID, NUMBER.unpack(asked)[0], os.WEXITED | os.WNOWAIT)
                assert found is not None  # it waited
                status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
                control.sendall(NUMBER.pack(status))
        for pid in workers:  # those that do not see for themselves that their run is over
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def attend(connection: Connection) -> None:
    """What a worker's process does: what it is called for, until the other end is closed.

    A call is the name of one of `Worker`'s methods, and arguments, each a key with its pickled value, or
    with None if the last call had the same.

    Args:
        connection: to the process of the run.
    """
    limit_threads(1)  # what other devices of one process would share and wait in: XLA's threads
    worker = Worker(connection.recv_bytes().decode(), 1, accelerated=False, alone=False)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while message := connection.recv_bytes():
                calls.put(message)
        except (EOFError, OSError):
            os._exit(0)
        worker.signals.received = signal.SIGTERM
        calls.put(b"")

    threading.Thread(target=listen, daemon=True, name="sweeps-calls").start()
    values: dict[int, Any] = {}
    while message := calls.get():
        method, arguments = pickle.loads(message)
        try:
            values = {
                key: values[key] if pickled is None else pickle.loads(pickled) for key, pickled in arguments
            }
            found = True, getattr(worker, method)(*values.values())
        except SystemExit:  # it was asked to end, and has kept what it had
            break
        except Exception as error:  # whatever the user's own functions raise
            found = False, describe(error).error
        with contextlib.suppress(OSError):  # nobody may be waiting any more
            connection.send_bytes(pickle.dumps(found))
    _flush()
    os._exit(0)


def _flush() -> None:
    if sys.stdout is not None:  # as it is where a service was started with it closed
        sys.stdout.flush()


def _fork() -> int:
    _flush()  # or what waits to be written would be written by both
    with warnings.catch_warnings():
        # There may be threads, of libraries that see to it that forks are safe; JAX has none here.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


if __name__ == "__main__":
    adopt(pickle.loads(sys.stdin.buffer.read()))
    serve(socket.socket(fileno=int(sys.argv[1])))
