"""The pool of worker processes: order, few items in flight, errors and crashes."""

from __future__ import annotations

import contextlib
import operator
import os
import time

import pytest

from musclemap_jax.runtime.worker_pool import WorkerCrash, WorkerPool


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(2) as pool:
        yield pool


@pytest.mark.parametrize("num_workers", [1, 2])
def test_results_come_in_the_order_of_the_items(num_workers, pool):
    with WorkerPool(1) as alone:
        workers = pool if num_workers == 2 else alone
        assert list(workers.map(operator.mul, ((b"x" * 1000, number) for number in range(50)))) == [
            b"x" * 1000 * number for number in range(50)
        ]


def test_work_is_done_in_other_processes(pool):
    processes = set(pool.map(os.getpid, [()] * 20))
    assert os.getpid() not in processes
    assert len(processes) <= 2


def test_few_items_are_taken_ahead(pool):
    taken = []
    items = ((taken.append(number) or number, 1) for number in range(100))
    results = pool.map(operator.add, items)
    assert next(results) == 1
    assert len(taken) <= 2 * pool.num_workers + 1
    results.close()


def test_a_crash_costs_one_item(pool):
    results = list(pool.map(os._exit, [(7,)])) + list(pool.map(operator.add, [(1, 2)] * 5))
    assert isinstance(results[0], WorkerCrash)
    assert "status 7" in str(results[0])
    assert results[1:] == [3] * 5


def test_a_pool_ends_after_a_crash_whatever_is_still_to_do():
    for _ in range(3):
        start = time.monotonic()
        with contextlib.suppress(KeyError), WorkerPool(2) as pool:
            for result in pool.map(_exit_or_sleep, [(9,), (0,), (0,), (0,), (0,)]):
                if isinstance(result, WorkerCrash):
                    raise KeyError
        assert time.monotonic() - start < 60


def _exit_or_sleep(status):
    if status:
        os._exit(status)
    time.sleep(600)


def test_an_error_arrives_with_the_workers_traceback(pool):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(pool.map(operator.truediv, [(1, 0)]))


def test_what_a_worker_prints_does_not_mix_with_results(pool):
    assert list(pool.map(os.write, [(1, b"noise\n")] * 3)) == [6, 6, 6]
    assert list(pool.map(print, [("noise",)] * 3)) == [None] * 3
