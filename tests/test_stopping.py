"""Stops, by real signals: at once, or at the end of what must not be torn."""

import signal
import threading
import time

import pytest

from bnexp import stopping
from bnexp.stopping import Stopped, heed, whole

pytestmark = pytest.mark.usefixtures("heard")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_is_heard_at_once(number: signal.Signals) -> None:
    with pytest.raises(Stopped):
        signal.raise_signal(number)


def test_a_stop_waits_for_the_end_of_what_must_not_be_torn() -> None:
    done = []
    with pytest.raises(Stopped), whole():
        with whole():
            signal.raise_signal(signal.SIGTERM)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    with whole():  # it was heard once
        done.append("after")


def test_what_fails_meanwhile_was_stopped() -> None:
    with pytest.raises(Stopped), whole():
        signal.raise_signal(signal.SIGTERM)
        raise ValueError


def test_where_it_can_wait_for_long_it_heeds_a_stop() -> None:
    heed()
    done = []
    with pytest.raises(Stopped), whole():
        heed()
        signal.raise_signal(signal.SIGTERM)
        done.append("stopped")
        heed()
        done.append("never")
    assert done == ["stopped"]


def test_what_hangs_is_torn_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "GRACE_SECONDS", 0.05)
    began = time.monotonic()
    with pytest.raises(Stopped), whole():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(30)
    assert time.monotonic() - began < 15


def test_another_thread_stops_nobody() -> None:
    """Python gives signals to the main thread, whose stop has nothing to do with what another is in the midst of."""
    inside, end = threading.Event(), threading.Event()

    def work() -> None:
        with whole():
            inside.set()
            end.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)
    end.set()
    thread.join()


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stopping.stop_as_by_hand()
    signal.raise_signal(signal.SIGHUP)


def test_a_second_stop_tears_nothing_of_the_end_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until that should have come to its own end."""
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)
    for number in stopping.STOPS:
        signal.raise_signal(number)
    with whole():
        signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(stopping, "ENDING_SECONDS", 0.0)
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)
