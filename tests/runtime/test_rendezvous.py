"""Tests of how processes find each other, among threads; commands that do not are in test_starts.py."""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from musclemap_jax.errors import AbsentProcessError, UserError
from musclemap_jax.runtime.rendezvous import Group, meet, refuse
from tests.processes import free_address

HOST = socket.gethostname()


@pytest.fixture
def groups():
    """A function (count, timeout_s) that returns the same group as seen by each of its processes."""
    address = free_address()
    return lambda count, timeout_s=20: [Group(address, number, count, timeout_s) for number in range(count)]


@pytest.fixture
def at_once():
    """A function (*calls) that runs calls at the same time and returns their results, or their UserErrors as text."""
    with ThreadPoolExecutor(8) as pool:

        def result(call):
            try:
                return call()
            except UserError as error:
                return str(error)

        yield lambda *calls: [future.result() for future in [pool.submit(result, call) for call in calls]]


def close(*results):
    for connections, _ in results:
        for connection in connections.values():
            connection.close()


def test_all_get_connections_and_one_address_for_jax(groups, at_once):
    results = at_once(*(lambda group=group: meet(group) for group in reversed(groups(3))))[::-1]
    assert [sorted(connections) for connections, _ in results] == [[1, 2], [0], [0]]
    (address,) = {address for _, address in results}
    assert re.fullmatch(r"localhost:\d+", address)
    for number in (1, 2):
        results[number][0][0].send(f"from {number}")
        assert next(results[0][0][number].lines) == f"from {number}"
    close(*results)


def test_who_is_absent_is_said_by_all_who_are_there(groups, at_once, capsys):
    first, second, _ = groups(3, timeout_s=3)
    line = (
        f"process 0 of 3 on {HOST}: waited 3 s for process 2 to connect to {first.address}: start all 3 processes, "
        "allow traffic to that port, or raise --connect_timeout_s"
    )
    assert at_once(lambda: meet(first), lambda: meet(second)) == [line, line]
    progress = capsys.readouterr().err
    assert f"process 0 of 3 on {HOST}: waiting for process 2 to connect to {first.address} (2 of 3 s)\n" in progress
    assert f"process 1 of 3 on {HOST}: waiting for the others, as process 0 at {first.address} does (2 of" in progress


def test_processes_that_do_not_come_may_come_at_the_next_start(groups, at_once):
    def status(group):
        with pytest.raises(AbsentProcessError) as caught:
            meet(group)
        return caught.value.status

    first, second, _ = groups(3, timeout_s=1)
    assert at_once(lambda: status(first), lambda: status(second)) == [6, 6]


def test_without_process_0_the_address_is_said(groups, capsys):
    _, second = groups(2, timeout_s=3)
    whom = re.escape(f"process 0 at {second.address} (Connection refused)")
    with pytest.raises(
        UserError, match=f"^process 1 of 2 on {HOST}: waited 3 s for {whom}: start process 0 there, allow"
    ):
        meet(second)
    assert re.search(f"process 1 of 2 on {HOST}: waiting for {whom} \\(2 of 3 s\\)\n", capsys.readouterr().err)


def test_a_host_that_does_not_exist_is_said():
    with pytest.raises(UserError, match=r"waited 1 s for process 0 at nowhere.invalid:1234 \(.*(name|Name).*\)"):
        meet(Group("nowhere.invalid:1234", 1, 2, 1))


def test_another_program_at_the_address_is_said(groups):
    _, second = groups(2, timeout_s=1)

    def answer():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.sendall(b"\0\0\6\4\0\n")  # as a gRPC server does
            connection.close()

    with socket.create_server((second.host, second.port)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UserError, match=r"\((another program answers there|Connection reset by peer)\)"):
            meet(second)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_stranger_and_a_process_that_dies_while_waiting_do_not_disturb(groups, at_once):
    first, second = groups(2)

    def disturb():
        time.sleep(0.3)
        for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n", b""):
            with socket.create_connection((first.host, first.port)) as stranger:
                stranger.sendall(greeting)
        return meet(second)

    results = at_once(lambda: meet(first), disturb)
    assert [sorted(connections) for connections, _ in results] == [[1], [0]]
    close(*results)


def test_a_process_that_is_started_again_takes_its_own_place(groups, at_once):
    first, second, third = groups(3)

    def start_again():
        time.sleep(0.2)
        with socket.create_connection((first.host, first.port)) as died:
            died.sendall(b"musclemap_jax 1 3\n")
            time.sleep(0.3)
        time.sleep(0.5)
        return meet(second)

    def come_last():
        time.sleep(2)
        return meet(third)

    results = at_once(lambda: meet(first), start_again, come_last)
    assert [sorted(connections) for connections, _ in results] == [[1, 2], [0], [0]]
    close(*results)


def test_two_processes_of_one_number_are_told(groups, at_once):
    first, second, _ = groups(3, timeout_s=3)
    results = at_once(lambda: meet(first), lambda: meet(second), lambda: (time.sleep(0.5), meet(second))[1])
    assert any(f"process 0 at {first.address} already has a process 1" in result for result in results)
    assert sum("waited 3 s for process 2" in result for result in results) == 2


def test_other_numbers_of_processes_are_told_to_both(groups, at_once):
    first, _ = groups(2)
    other = Group(first.address, 1, 3, 20)
    results = at_once(lambda: meet(first), lambda: meet(other))
    line = "another process connected as number 1 of 3: pass the same --num_processes to all"
    assert results == [f"process 0 of 2 on {HOST}: {line}"] * 2


def test_a_refusal_of_process_0_ends_the_others(groups, at_once):
    first, *others = groups(3)
    calls = [lambda group=group: meet(group) for group in others]
    results = at_once(lambda: refuse(first, "runs/demo: in use by process 4711"), *calls)
    assert results[1:] == [f"process {number} of 3 on {HOST}: runs/demo: in use by process 4711" for number in (1, 2)]


def test_a_second_start_at_the_same_address_ends_at_once(groups, at_once):
    first, second = groups(2)
    results = at_once(lambda: meet(first), lambda: meet(second))
    again = at_once(lambda: meet(first), lambda: meet(second))
    assert f"could not listen on port {first.port} (in use): another run or program may use it" in again[0]
    assert f"{second.address} is used by another run (process 0: pid " in again[1]
    close(*results)
