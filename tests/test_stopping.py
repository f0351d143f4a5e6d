"""A program that is asked to stop, while Dagster holds the signals and a training its threads."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

PROGRAM = """
import subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from dagster._utils.interrupts import capture_interrupts
from platform_assets.stopping import stops_at_once

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with stops_at_once("go on from here"), capture_interrupts(), ThreadPoolExecutor(1) as training:
    fitted = training.submit(time.sleep, 60)
    print(child.pid, flush=True)
    fitted.result()
"""


BETWEEN_STEPS = """
import signal, time
from platform_assets.stopping import stops_at_once

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell has put the tests into the background
with stops_at_once("go on from here"):
    print(flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_between_steps_it_stops_the_same_way(asked: signal.Signals) -> None:
    """The main thread is interrupted then, and used to be out of the program with 130 before the stop was answered."""
    command = [sys.executable, "-W", "ignore", "-c", BETWEEN_STEPS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        program.stdout.readline()
        program.send_signal(asked)
        _, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (128 + asked, "\nstopped: go on from here\n")


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_and_leaves_no_child(asked: signal.Signals) -> None:
    """TERM used to wait for the network of a training, half a minute."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        child = int(program.stdout.readline())
        began = time.monotonic()
        program.send_signal(asked)
        _, said = program.communicate(timeout=30)
        assert time.monotonic() - began < 5
    assert program.returncode == 128 + asked
    assert "stopped: go on from here" in said
    assert not psutil.pid_exists(child)


def test_afterwards_signals_are_as_before() -> None:
    from platform_assets.stopping import stops_at_once

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stops_at_once("never"):
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert signal.set_wakeup_fd(-1) == -1
