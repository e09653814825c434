"""Tests of the agreement on when to stop, among threads that pass their messages as the connections do."""

import random
import threading
import time

import pytest

from musclemap_jax.runtime.stop_agreement import StopAgreement


def members(count):
    """Agreements whose messages go from and to process 0, each in a thread, after a random time."""
    agreements = []

    def send(number, text):
        def deliver(target):
            time.sleep(random.random() / 100)
            word, _, rest = text.partition(" ")
            agreements[target].receive(number, word, rest)

        for target in range(1, count) if number == 0 else [0]:
            threading.Thread(target=deliver, args=(target,)).start()

    agreements += [
        StopAgreement(number, count, lambda text, number=number: send(number, text)) for number in range(count)
    ]
    return agreements


@pytest.mark.parametrize("asking", [(0,), (1,), (2,), (0, 1, 2)])
def test_all_stop_at_the_same_tick_whoever_asks(asking):
    agreements, ticks = members(3), [0, 0, 0]
    stopped = [None, None, None]

    def loop(number):
        while stopped[number] is None:
            # As in collective steps, no process is more than one ahead.
            while min(ticks) < ticks[number] and None in stopped:
                time.sleep(0.0005)
            if agreements[number].reached():
                stopped[number] = ticks[number] + 1
            ticks[number] += 1
            time.sleep(random.random() / 500)

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    for number in asking:
        agreements[number].request()
    for thread in threads:
        thread.join(timeout=30)
    assert stopped[0] is not None
    assert stopped == [stopped[0]] * 3


def test_a_process_alone_stops_at_its_next_tick_however_often_it_is_asked():
    agreement = StopAgreement()
    assert [agreement.reached() for _ in range(2)] == [False, False]
    agreement.request()
    agreement.request()
    assert agreement.reached()
