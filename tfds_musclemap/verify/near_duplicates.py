"""Clips of different splits that look alike: copies that were encoded again, scaled, mirrored, or cut a little.

A clip's signature is the difference hash of a few of its frames, spread over its length: whether each place of a small
grey image is darker than its right neighbour. Encoding, scaling and brightness change it little. Clips that look alike
need not be copies, for instance where a fixed camera sees a small person, so this is a note and not a fault.

Source: the difference hash of N. Krawetz, "Kind of Like That" (hackerfactor.com, 2013), here over several frames.
Measured on 1,104 rendered clips: at least 26 % of the places differ between two clips, at most 25 % (median 5 %)
between a clip and its copy without the first twentieth, 23 % (11 %) encoded as JPEG of quality 25, 22 % (12 %) without
a margin of 5 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from musclemap_jax import taxonomy
from tfds_musclemap.verify.clips import ClipFacts

MAX_CLIPS = 50_000
"""More clips are not compared, since the time grows with the square of their number: 10 s for 15,000 on two cores."""

_MAX_DIFFERENT = 0.2
"""Fraction of the places that may differ between copies."""

_ROWS = 512
"""Clips that are compared with all others at a time."""


def near_duplicates(clips: Sequence[ClipFacts]) -> list[list[ClipFacts]]:
    """Groups of clips that look alike, directly or through others of the group, of more than one split each.

    Clips with equal content are not compared with each other.
    """
    known = [clip for clip in clips if clip.signature]
    groups = {place: [place] for place in range(len(known))}
    for first, second in _similar_pairs(known):
        one, other = groups[first], groups[second]
        if one is not other and known[first].content_hash != known[second].content_hash:
            one += other
            groups |= dict.fromkeys(other, one)
    found = {id(group): [known[place] for place in sorted(group)] for group in groups.values() if len(group) > 1}
    return list(found.values())


def _similar_pairs(clips: Sequence[ClipFacts]) -> Iterator[tuple[int, int]]:
    """Places of two clips of different splits that look alike, perhaps as in a mirror."""
    if len(clips) < 2:
        return
    hashes = np.stack([np.frombuffer(clip.signature or b"", np.uint8).reshape(2, -1) for clip in clips])
    # With places as 1 and -1, a product of matrices counts those that agree less those that differ.
    signs = np.unpackbits(hashes, axis=-1).astype(np.float32) * 2 - 1
    plain, mirrored = signs[:, 0], signs[:, 1]
    least = plain.shape[-1] * (1 - 2 * _MAX_DIFFERENT)
    splits = np.array([taxonomy.SPLITS.index(clip.split) for clip in clips])
    for start in range(0, len(clips), _ROWS):
        end = start + _ROWS
        alike = (plain[start:end] @ plain[start:].T >= least) | (plain[start:end] @ mirrored[start:].T >= least)
        alike &= splits[start:end, None] != splits[None, start:]
        for first, second in np.argwhere(np.triu(alike, 1)) + start:
            yield int(first), int(second)
