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
import itertools
from typing import NamedTuple

import numpy as np

from musclemap_jax.coach.movement import RATE

PERIODS_S = tuple(0.6 * 1.22**step for step in range(12))
"""Lengths of patterns that are tried, 0.6 to 5.3 seconds; tempos between them are covered by `_TEMPOS`."""

MIN_REPETITIONS = 2
"""A movement that occurs once is no repetition."""

_TEMPOS = (0.72, 0.8, 0.89, 1.0, 1.12, 1.25, 1.4)
"""Lengths of a repetition relative to its pattern."""

_UNLIKE, _UNLIKE_NOISY, _UNLIKE_AT_LAST = 0.35, 0.7, 0.6
"""Mean squared distance from the pattern, as a fraction of the pattern's energy, beyond which a stretch is not it:
while the pattern is a single stretch with its noise; if nothing is found so; and once it is a mean of several. Of two
stretches of noise alone it is 2."""

_AMPLITUDES = (0.6, 1.7)
"""Size of a stretch's movement relative to the pattern's: a false start is smaller."""

_GAP_TEMPO, _GAP_ENERGY = 0.3, 0.5
"""Between two repetitions, others may be seen badly: where there is room for them at about the usual tempo, and about
as much moves."""

_LEAST_ENERGY = 2.0
"""Least energy of a pattern in units of the noise's."""

_LEFT_OVER = 0.3
MIN_LEFT_OVER = 3
"""What is left over is only searched for patterns with this fraction of the first one's energy, that come so often."""

_PAUSE = 0.6
"""In lengths of a repetition: a shorter gap belongs to the repetition before it."""

_AT_REST = 0.15
"""Fraction of the gain that a pattern loses that begins and ends in the middle of the movement."""

_SHORTER, _MORE = 0.25, 0.25
"""Of two patterns that explain nearly as much, the one that is shorter and comes more often is meant: fractions of the
gain lost for each doubling of the length, and won for each doubling of the number."""

_INTO_STILL_S = 1.0

_LENGTH = 12
_MAX_PATTERNS = 48
"""L, and the most stretches of one length that are tried as the pattern."""

_SHIFTS = 8
"""Times in half a period by which a pattern is moved to where it begins and ends at rest."""

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


class _Candidate(NamedTuple):
    """A stretch that may be the pattern, of a curve of which every `step`-th sample was taken."""

    score: float
    period_s: float
    step: int
    pattern: np.ndarray


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
    return _until_the_next(_with_gaps_filled(sorted(spans), curve)) / RATE


def _with_gaps_filled(spans: list[tuple[int, int]], curve: np.ndarray) -> np.ndarray:
    """(R, 2) spans, with those that are seen badly between two others."""
    starts = np.array([start for start, _ in spans])
    if len(starts) < MIN_LEFT_OVER:
        return np.array(spans, np.float64).reshape(-1, 2)
    period = float(np.median(np.diff(starts)))
    usual = np.median([_variance(curve[start : start + round(period)]) for start in starts])
    filled = list(spans)
    for start, following in itertools.pairwise(starts.tolist()):
        number = round((following - start) / period)
        edges = np.linspace(start, following, number + 1).round().astype(int)
        lengths_fit = number > 1 and abs((following - start) / number / period - 1) <= _GAP_TEMPO
        if lengths_fit and all(_variance(curve[a:b]) >= _GAP_ENERGY * usual for a, b in itertools.pairwise(edges)):
            filled += itertools.pairwise(edges[1:].tolist())
    return np.array(sorted(filled), np.float64)


def _variance(curve: np.ndarray) -> float:
    """Mean squared distance of samples from their mean."""
    return float(np.square(curve - curve.mean(axis=0)).sum(axis=1).mean())


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
    candidates = _candidates(curve, still, least_energy, _UNLIKE)
    candidates = candidates or _candidates(curve, still, least_energy, _UNLIKE_NOISY)
    best_found, best_score = None, 0.0
    for candidate in candidates[:_MAX_TRIED]:
        step = candidate.step
        stretches = _stretches(curve[::step], round(candidate.period_s * RATE / step))
        found = _refined(stretches, candidate, still[::step], fewest)
        if found is None:
            continue
        score = found.gain * step * (1 + _MORE * np.log2(len(found.starts)))
        if score > best_score:
            best_found = dataclasses.replace(found, starts=found.starts * step, ends=found.ends * step)
            best_score = score
    return best_found


def _candidates(curve: np.ndarray, still: np.ndarray, least_energy: float, unlike: float) -> list[_Candidate]:
    """The best stretch of each period as a pattern, best first, if it explains anything but itself."""
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
            gains, _ = _schedule(stretches, patterns, still[::step], unlike)
            shorter = 1 - _SHORTER * np.log2(period_s)
            scores = (gains - period * energies) * step * shorter * _at_rest(patterns)
            best = int(np.argmax(scores))
            if scores[best] > 0:
                candidates.append(_Candidate(float(scores[best]), period_s, step, patterns[best]))
    return sorted(candidates, key=lambda each: -each.score)


def _at_rest(patterns: np.ndarray) -> np.ndarray:
    """(N,) factor on the gain of patterns: 1 for those that begin and end at rest."""
    return 1 - _AT_REST * _speed_at_ends(patterns)


def _speed_at_ends(patterns: np.ndarray) -> np.ndarray:
    """(N,) speed at the start and end of each pattern relative to its mean, in [0, 1]."""
    steps = np.sqrt(np.square(np.diff(patterns, axis=1)).sum(axis=2))
    return np.clip((steps[:, 0] + steps[:, -1]) / np.maximum(2 * steps.mean(axis=1), 1e-9), 0, 1)


def _refined(stretches: dict[int, np.ndarray], candidate: _Candidate, still: np.ndarray, fewest: int) -> Found | None:
    """The places of a pattern, which becomes their mean; None if there are fewer than `fewest`."""
    _, choices = _schedule(stretches, candidate.pattern[None], still, _UNLIKE_AT_LAST)
    places = _places(choices[:, 0])
    if len(places) < fewest:
        return None
    shifted = _shifted_means(stretches, places)
    gains, _ = _schedule(stretches, shifted, still, _UNLIKE_AT_LAST)
    pattern = shifted[np.argmax(gains * _at_rest(shifted))]
    gains, choices = _schedule(stretches, pattern[None], still, _UNLIKE_AT_LAST)
    places = _places(choices[:, 0])
    if len(places) < fewest:
        return None
    # The pattern is nearly the mean of its places, so it is nearer to each of them than to a further one.
    energy = float(_energy(pattern[None])[0]) * (places[:, 1] - places[:, 0]).sum()
    gain = energy - (energy - float(gains[0])) * len(places) / (len(places) - 1)
    return Found(pattern, places[:, 0], places[:, 1], gain)


def _shifted_means(stretches: dict[int, np.ndarray], places: np.ndarray) -> np.ndarray:
    """(N, L, C) means of the places, all moved by the same time, of each of N times up to half a period either way."""
    half = int(np.median(places[:, 1] - places[:, 0])) // 2
    means = []
    for shift in range(-half, half + 1, max(1, half // _SHIFTS)):
        moved = [(start + shift, end - start) for start, end in places.tolist()]
        inside = [stretches[length][start] for start, length in moved if 0 <= start < len(stretches[length])]
        if len(inside) * 2 > len(places):
            means.append(np.mean(inside, axis=0))
    return np.stack(means)


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
    stretches: dict[int, np.ndarray], patterns: np.ndarray, still: np.ndarray, unlike: float
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
    means, pattern_means = stretches.mean(axis=1), patterns.mean(axis=1)
    energy = _energy(patterns)
    amplitude = (product / _LENGTH - means @ pattern_means.T) / np.maximum(energy, 1e-12)
    gains = energy - distance / (_LENGTH * unlike)
    return np.where((amplitude > _AMPLITUDES[0]) & (amplitude < _AMPLITUDES[1]), gains, -np.inf)


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
