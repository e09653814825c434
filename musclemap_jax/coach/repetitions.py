"""Repetitions of a movement: where a pattern comes again and again, at a tempo that may change.

The pattern and its places are found together. Stretches of the movement are tried as the pattern; for each of them, the
best set of stretches that do not overlap and that are like it, when stretched to its length, is found by dynamic
programming; the pattern that explains most of the movement's energy wins, and becomes the mean of its places. A pause
is like no pattern, a false start is too small to be like it, and what is left over is searched again, so that other
exercises of the same video, and repetitions that are done differently, have patterns of their own.

That the whole curve is compared, and not one coordinate of it, is why a thruster, a squat and a press, is one
repetition, and a step with the left and then the right leg as well. Compare the periods by autocorrelation of Lu and
Ferrier, "Repetitive motion analysis: segmentation and event classification", PAMI 2004, and the self-similarity of
Dwibedi et al., "Counting out time" (RepNet), arXiv:2006.15418.

Letters of shapes: S samples, C components, L samples of a stretched pattern, N patterns.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from musclemap_jax.coach.movement import RATE

PERIODS_S = tuple(0.6 * 1.22**step for step in range(12))
"""Lengths of patterns that are tried, 0.6 to 5.3 seconds; tempos between them are covered by `_TEMPOS`."""

MIN_REPETITIONS = 2
"""A movement that occurs once is no repetition."""

_TEMPOS = (0.72, 0.8, 0.89, 1.0, 1.12, 1.25, 1.4)
"""Lengths of a repetition relative to its pattern."""

_UNLIKE, _UNLIKE_AT_LAST = 0.35, 0.6
"""Mean squared distance from the pattern, as a fraction of the pattern's energy, beyond which a stretch is not it:
while the pattern is looked for, and once it is known. A false start that goes half of the way is at 0.8."""

_LEAST_ENERGY = 2.0
"""Least energy of a pattern in units of the noise's."""

_LEFT_OVER = 0.3
MIN_LEFT_OVER = 3
"""What is left over is only searched for patterns with this fraction of the first one's energy, that come so often."""

_PAUSE = 0.6
"""In lengths of a repetition: a shorter gap belongs to the repetition before it."""

_AT_REST = 0.15
"""Fraction of the gain that a pattern loses that begins and ends in the middle of the movement."""

_SHORTER = 0.25
"""Of two patterns that explain nearly as much, the shorter one is meant: fraction of the gain lost per octave."""

_INTO_STILL_S = 1.0

_LENGTH = 12
_MAX_PATTERNS = 48
"""L, and the most stretches of one length that are tried as the pattern."""

_REFINEMENTS = 3
_MAX_TRIED = 7
"""Patterns that are refined, the best first; one for each period at most."""

_SLOW_S = 1.5
"""Longer patterns are looked for at half the rate."""


@dataclasses.dataclass(frozen=True)
class Found:
    """A pattern and its places.

    Attributes:
      pattern: (L, C).
      starts: Samples at which its places begin.
      ends: Samples at which they end.
      gain: Energy that it explains.
    """

    pattern: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    gain: float


def repetition_times(curve: np.ndarray, still: np.ndarray | None = None) -> np.ndarray:
    """(R, 2) start and end in seconds of each repetition, which lasts until the next one unless there is a pause.

    Args:
      curve: (S, C) as in `movement.Movement`.
      still: (S,) bool, stretches in which a pose is kept, into which a repetition reaches by `_INTO_STILL_S` at most.
    """
    still = np.zeros(len(curve), bool) if still is None else still
    spans: list[tuple[int, int]] = []
    stretches, least_energy, fewest = [(0, len(curve))], _LEAST_ENERGY, MIN_REPETITIONS
    while stretches:
        first, last = stretches.pop()
        found = _best_pattern(curve[first:last], still[first:last], least_energy, fewest)
        if found is None:
            continue
        if not spans:
            least_energy, fewest = _LEFT_OVER * float(_energy(found.pattern[None])[0]), MIN_LEFT_OVER
        spans += [(first + int(s), first + int(e)) for s, e in zip(found.starts, found.ends, strict=True)]
        edges = [0, *np.stack([found.starts, found.ends], axis=1).ravel().tolist(), last - first]
        stretches += [(first + start, first + end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return _until_the_next(np.array(sorted(spans), np.float64).reshape(-1, 2)) / RATE


def _until_the_next(spans: np.ndarray) -> np.ndarray:
    """(R, 2) spans that end where the next one begins, if that is soon."""
    if len(spans):
        gaps = spans[1:, 0] - spans[:-1, 1]
        soon = gaps < _PAUSE * np.median(spans[:, 1] - spans[:, 0])
        spans[:-1, 1] = np.where(soon, spans[1:, 0], spans[:-1, 1])
    return spans


def _best_pattern(curve: np.ndarray, still: np.ndarray, least_energy: float, fewest: int) -> Found | None:
    """The pattern that explains most; None if nothing comes as often as `fewest`.

    Args:
      curve: (S, C).
      still: (S,) bool.
      least_energy: Least energy of the pattern.
      fewest: Least number of its places.
    """
    candidates = []
    for period_s in PERIODS_S:
        step = 1 if period_s < _SLOW_S else 2
        thinned, period = curve[::step], round(period_s * RATE / step)
        stretches = _stretches(thinned, period)
        patterns = stretches[period] if period in stretches else np.zeros((0, _LENGTH, curve.shape[1]))
        patterns = patterns[:: max(1, round(period / 6), -(-len(thinned) // _MAX_PATTERNS))]
        energies = _energy(patterns)
        patterns, energies = patterns[energies >= least_energy], energies[energies >= least_energy]
        if len(patterns):
            gains, _ = _schedule(stretches, patterns, still[::step])
            # A stretch explains itself: that counts nothing.
            scores = (gains - period * energies) * step * _preference(period_s, patterns)
            best = int(np.argmax(scores))
            candidates.append((float(scores[best]), period_s, step, patterns[best]))
    candidates.sort(key=lambda each: -each[0])
    best_found, best_score = None, 0.0
    for _, period_s, step, pattern in candidates[:_MAX_TRIED]:
        stretches = _stretches(curve[::step], round(period_s * RATE / step))
        found = _refined(stretches, pattern, still[::step], fewest)
        score = 0.0 if found is None else found.gain * step * float(_preference(period_s, found.pattern[None])[0])
        if found is not None and score > best_score:
            best_found = dataclasses.replace(found, starts=found.starts * step, ends=found.ends * step)
            best_score = score
    return best_found


def _preference(period_s: float, patterns: np.ndarray) -> np.ndarray:
    """(N,) factor on the gain of patterns: shorter ones that begin and end at rest are preferred."""
    return (1 - _SHORTER * np.log2(period_s)) * (1 - _AT_REST * _speed_at_ends(patterns))


def _speed_at_ends(patterns: np.ndarray) -> np.ndarray:
    """(N,) speed at the start and end of each pattern relative to its mean, in [0, 1]."""
    steps = np.sqrt(np.square(np.diff(patterns, axis=1)).sum(axis=2))
    return np.clip((steps[:, 0] + steps[:, -1]) / np.maximum(2 * steps.mean(axis=1), 1e-9), 0, 1)


def _refined(stretches: dict[int, np.ndarray], pattern: np.ndarray, still: np.ndarray, fewest: int) -> Found | None:
    """The places of a pattern, which becomes their mean; None if there are too few."""
    found = None
    for step in range(_REFINEMENTS):
        unlike = _UNLIKE_AT_LAST if step == _REFINEMENTS - 1 else _UNLIKE
        gains, choices = _schedule(stretches, pattern[None], still, unlike)
        places = _places(choices[:, 0])
        if len(places) < fewest:
            return None
        # The pattern is the mean of its places, so it is nearer to each of them than to a further one.
        energy = float(_energy(pattern[None])[0]) * (places[:, 1] - places[:, 0]).sum()
        gain = energy - (energy - float(gains[0])) * len(places) / (len(places) - 1)
        found = Found(pattern, places[:, 0], places[:, 1], gain)
        pattern = np.mean([stretches[end - start][start] for start, end in places.tolist()], axis=0)
    return found


def _stretches(curve: np.ndarray, period: int) -> dict[int, np.ndarray]:
    """{length in samples: (S', L, C)}: all stretches of that length, resampled to L samples, by their start."""
    result = {}
    for length in sorted({max(4, round(tempo * period)) for tempo in _TEMPOS}):
        if length <= len(curve):
            offsets = np.linspace(0, length - 1, _LENGTH)
            before = np.minimum(offsets.astype(int), length - 2)
            weight = (offsets - before)[:, None]
            starts = np.arange(len(curve) - length + 1)[:, None]
            result[length] = (1 - weight) * curve[starts + before] + weight * curve[starts + before + 1]
    return result


def _schedule(
    stretches: dict[int, np.ndarray], patterns: np.ndarray, still: np.ndarray, unlike: float = _UNLIKE
) -> tuple[np.ndarray, np.ndarray]:
    """The best places of each pattern, by dynamic programming over their ends.

    Returns:
      (N,) energy that the places explain; (S + 1, N) length of the place that ends at each sample, 0 for none.
    """
    num_samples, lengths = len(still), np.array(sorted(stretches))
    still_before = np.concatenate([[0], np.cumsum(still)])
    gains = np.full((num_samples + 1, len(lengths), len(patterns)), -np.inf)  # by the end of the stretch
    for place, length in enumerate(lengths.tolist()):
        gains[length:, place] = length * _gains(stretches[length], patterns, unlike)
        gains[length:, place][still_before[length:] - still_before[:-length] > _INTO_STILL_S * RATE] = -np.inf
    best = np.zeros((num_samples + 1, len(patterns)))
    choices = np.zeros(best.shape, np.int32)
    columns = np.arange(len(patterns))
    for end in range(1, num_samples + 1):
        totals = best[np.maximum(end - lengths, 0)] + gains[end]
        place = totals.argmax(axis=0)
        total = totals[place, columns]
        better = total > best[end - 1]
        best[end] = np.where(better, total, best[end - 1])
        choices[end] = np.where(better, lengths[place], 0)
    return best[-1], choices


def _gains(stretches: np.ndarray, patterns: np.ndarray, unlike: float) -> np.ndarray:
    """(S', N) energy per sample that a stretch explains as a place of a pattern; negative where it is unlike it."""
    flat, flat_patterns = stretches.reshape(len(stretches), -1), patterns.reshape(len(patterns), -1)
    product = flat @ flat_patterns.T
    distance = np.square(flat).sum(1)[:, None] - 2 * product + np.square(flat_patterns).sum(1)
    return _energy(patterns) - distance / (_LENGTH * unlike)


def _energy(patterns: np.ndarray) -> np.ndarray:
    """(N,) mean squared distance of each pattern's samples from their mean."""
    return np.square(patterns - patterns.mean(axis=1, keepdims=True)).sum(axis=2).mean(axis=1)


def _places(choices: np.ndarray) -> np.ndarray:
    """(R, 2) starts and ends in order, from the (S + 1,) lengths chosen by end."""
    places, end = [], len(choices) - 1
    while end > 0:
        length = int(choices[end])
        if length:
            places.append((end - length, end))
        end -= max(length, 1)
    return np.array(places[::-1], int).reshape(-1, 2)
