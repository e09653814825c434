"""What waits between two threads is bounded; the oldest is dropped, or the other thread waits."""

import threading

import pytest

from musclemap_jax.predict.live.backlog import Backlog, Closed, hand_on


def test_the_oldest_items_are_dropped_and_counted():
    backlog = Backlog(2, drops=True)
    for item in range(5):
        backlog.put(item)
    backlog.close()
    assert (backlog.dropped, backlog.get(), backlog.get()) == (3, 3, 4)
    with pytest.raises(Closed):
        backlog.get()


def test_without_dropping_the_thread_waits_and_every_item_comes():
    backlog = Backlog(2, drops=False)
    thread = threading.Thread(target=hand_on, args=(range(100), backlog))
    thread.start()
    assert [backlog.get() for _ in range(100)] == list(range(100))
    thread.join()
    assert backlog.dropped == 0


def test_an_error_comes_after_what_was_put_before_it():
    def items():
        yield 1
        raise OSError("unplugged")

    backlog = Backlog(2, drops=True)
    hand_on(items(), backlog)
    assert backlog.get() == 1
    with pytest.raises(OSError, match="unplugged"):
        backlog.get()


def test_a_thread_that_waits_to_put_ends_when_nobody_takes_any_more():
    backlog = Backlog(1, drops=False)
    thread = threading.Thread(target=hand_on, args=(range(9), backlog))
    thread.start()
    assert backlog.get() == 0
    backlog.close()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_nothing_in_time_is_a_timeout():
    with pytest.raises(TimeoutError):
        Backlog(1, drops=True).get(timeout_s=0.01)
