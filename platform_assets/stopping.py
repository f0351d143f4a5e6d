"""A program that is asked to stop does, at once: what it does is written so that it can be killed at any instant."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

STOPS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stops_at_once(hint: str) -> Iterator[None]:
    """Inside, Ctrl-C and TERM end this process and its children without waiting for the step under way; `hint` is said.

    Dagster takes the handlers of both signals while steps run, and raises in the main thread, which then waits for a
    training's threads. So a thread of ours reads the number of each signal where the interpreter writes it down first;
    a main thread that an interrupt has brought out of here waits until that thread has ended the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, interpreters = socket.socketpair()
    interpreters.setblocking(False)
    term = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # without a handler it is written down nowhere
    before = signal.set_wakeup_fd(interpreters.fileno(), warn_on_full_buffer=False)
    answering = threading.Thread(target=_await, args=(ours, hint), daemon=True)
    answering.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGTERM, term)
        interpreters.close()  # ends the thread, once it has answered what was told before
        answering.join()


def _await(ours: socket.socket, hint: str) -> None:
    with ours:
        while told := ours.recv(1):
            if told[0] in STOPS:
                _end(told[0], hint)


def _end(number: int, hint: str) -> None:
    import psutil

    with suppress(psutil.Error):
        children = psutil.Process().children(recursive=True)
        for child in children:
            with suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, timeout=5)
    with suppress(OSError):
        os.write(2, f"\nstopped: {hint}\n".encode())
    os._exit(128 + number)
