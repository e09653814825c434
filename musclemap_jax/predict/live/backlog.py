"""What one thread hands to another: at most a few items, of which the oldest are dropped if that is asked for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """Nothing is left to get, or nobody is there to get it."""


class Backlog(Generic[T]):
    """A queue of bounded length between two threads.

    Attributes:
      dropped: Number of items that were dropped.
    """

    def __init__(self, capacity: int, drops: bool) -> None:
        """
        Args:
          capacity: Largest number of items that wait.
          drops: Whether a new item takes the place of the oldest one that waits, if there is no room. Otherwise `put`
            waits until there is.
        """
        self.dropped = 0
        self._items: deque[T] = deque()
        self._capacity, self._drops = capacity, drops
        self._changed = threading.Condition()
        self._is_closed = False
        self._error: Exception | None = None

    def put(self, item: T) -> None:
        """Adds an item. Raises Closed if the backlog was closed."""
        with self._changed:
            if self._drops and len(self._items) == self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: self._is_closed or len(self._items) < self._capacity)
            if self._is_closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> T:
        """The oldest item, once there is one.

        Args:
          timeout_s: How long to wait for it; None waits for ever.

        Raises:
          Closed: The backlog was closed without an error, and is empty.
          TimeoutError: Nothing came in time.
          Exception: The error with which the backlog was closed, once it is empty.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._is_closed, timeout_s):
                raise TimeoutError
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            raise self._error or Closed

    def close(self, error: Exception | None = None) -> None:
        """Ends the backlog: nothing more is put; what waits can still be got, then `error` is raised, if any."""
        with self._changed:
            if not self._is_closed:
                self._is_closed, self._error = True, error
                self._changed.notify_all()


def hand_on(items: Iterable[T], backlog: Backlog[T]) -> None:
    """The work of a thread: puts what an iterator yields, and closes the backlog, with an error if one ended it."""
    error = None
    try:
        for item in items:
            backlog.put(item)
    except Closed:
        pass
    except Exception as raised:  # raised again where the items are got
        error = raised
    backlog.close(error)
