"""Repetitions, holds and alerts as sentences for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from musclemap_jax.coach.coaching import Coaching


def summary(coaching: Coaching) -> str:
    """One sentence on repetitions and holds; empty if there are none."""
    parts = []
    if repetitions := coaching.repetitions:
        tempos = np.array([each.tempo_s for each in repetitions])
        count = f"{len(repetitions)} repetition{'s' if len(repetitions) > 1 else ''}"
        spread = "" if len(tempos) == 1 else f" ({tempos.min():.1f} to {tempos.max():.1f} s)"
        parts.append(f"{count}, {np.median(tempos):.1f} s each{spread}")
    if holds := coaching.holds:
        durations = " and ".join(f"{each.duration_s:.0f} s" for each in holds)
        parts.append(f"held for {durations}")
    return "; ".join(parts)


def coach_lines(coaching: Coaching) -> Iterator[str]:
    """Lines for the terminal."""
    if text := summary(coaching):
        yield text
    if coaching.expected:
        yield f"Expected: {coaching.expected}"
        for alert in coaching.alerts:
            yield f"Alert: {alert.sentence}"
        if not coaching.alerts and not coaching.notes:
            yield "No alert: nothing differs by more than the margin."
        yield from (f"Note: {note}" for note in coaching.notes)
