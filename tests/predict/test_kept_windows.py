"""The windows that are kept for explanations."""

import dataclasses

import pytest

from musclemap_jax.predict.kept_windows import MAX_WINDOWS, KeptWindows


@dataclasses.dataclass(frozen=True)
class Window:
    """What of a window is kept."""

    start: int
    persons: tuple[int, ...] = (1,)

    @property
    def times_s(self):
        return self.start / 10, self.start / 10 + 1

    def record(self, person):
        return {"person": person}


@pytest.mark.parametrize(("count", "stride"), [(1, 1), (16, 1), (17, 2), (33, 4), (500, 32)])
def test_memory_is_bounded_and_the_windows_are_spread_evenly(count, stride):
    kept = KeptWindows()
    rows = [(Window(10 * number), None) for number in range(count)]
    assert list(kept.watch(rows)) == rows
    starts = [window.start // 10 for window in kept.of_person(None)]
    assert starts == list(range(0, count, stride))
    assert len(starts) <= MAX_WINDOWS


def test_every_person_of_a_window_is_kept_with_it():
    kept = KeptWindows()
    rows = [(Window(number), person) for number in range(20) for person in (2, 1)]
    assert len(list(kept.watch(rows))) == 40
    for person in (1, 2):
        windows = kept.of_person(person)
        assert [window.start for window in windows] == list(range(0, 20, 2))
        assert {window.record["person"] for window in windows} == {person}
    assert kept.of_person(None) == []


def test_the_first_window_of_a_person_is_kept_in_any_case():
    kept = KeptWindows()
    rows = [(Window(number), 1) for number in range(21)] + [(Window(21), 2), (Window(22), 2)]
    list(kept.watch(rows))
    assert [window.start for window in kept.of_person(2)] == [21, 22]
    assert [window.start for window in kept.of_person(1)] == list(range(0, 21, 2))


def test_windows_that_cannot_be_answered_do_not_count():
    kept = KeptWindows(needs_person=True)
    rows = [(Window(number, (1,) if number == 33 else ()), None) for number in range(60)]
    assert list(kept.watch(rows)) == rows
    assert [window.start for window in kept.of_person(None)] == [33]
