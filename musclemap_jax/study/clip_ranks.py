"""The scores of a split's clips, small enough to be committed: for each region the rank of each clip, exactly.

Average precision is a function of the order of the clips alone, ties included, and so is every bootstrap of it over
clips or activities. So the ranks of a region's scores replace the scores: one byte each for up to 256 clips. A clip
takes about 95 bytes of compressed text, with twenty regions and three sets of scores (two branches and both together),
and as much again with three baselines.

The text is base64 of an npz file: `clip_ids` (n,), `activities` (n,), `labels` (n, K) as bits along the first axis, and
for each set of scores `ranks_<name>` (n, K), for each baseline `baseline_<name>` (n, K), 0 for the lowest score.
"""

from __future__ import annotations

import base64
import io

import numpy as np

from musclemap_jax.eval.predictions import FUSED, SplitPredictions
from musclemap_jax.storage.npz_files import read_npz

_RANKS, _BASELINE = "ranks_", "baseline_"


def pack(predictions: SplitPredictions) -> str:
    """The text of a split's predictions; a branch must not have the name `FUSED`."""
    scores = {FUSED: predictions.scores, **predictions.branch_scores}
    buffer = io.BytesIO()
    arrays = {f"{_RANKS}{name}": _ranks(values) for name, values in scores.items()}
    arrays |= {f"{_BASELINE}{name}": _ranks(values) for name, values in predictions.baseline_scores.items()}
    np.savez_compressed(
        buffer,
        clip_ids=np.array(predictions.clip_ids, dtype=str),
        activities=np.array(predictions.activities, dtype=str),
        labels=np.packbits(predictions.labels.astype(bool), axis=0),
        **arrays,  # ty: ignore[invalid-argument-type]
    )
    return base64.b64encode(buffer.getvalue()).decode()


def unpack(text: str) -> SplitPredictions:
    """The predictions of `pack`, with float32 ranks in place of the scores.

    Raises:
      ValueError: The text is damaged.
    """
    arrays = read_npz(base64.b64decode(text, validate=True))
    try:
        scores, baselines = (
            {
                name.removeprefix(prefix): ranks.astype(np.float32)
                for name, ranks in arrays.items()
                if name.startswith(prefix)
            }
            for prefix in (_RANKS, _BASELINE)
        )
        clip_ids = arrays["clip_ids"].tolist()
        labels = np.unpackbits(arrays["labels"], axis=0, count=len(clip_ids))
        activities = arrays["activities"].tolist()
        return SplitPredictions(scores.pop(FUSED), labels, clip_ids, activities, scores, baselines)
    except KeyError as error:
        raise ValueError(f"without {error}") from error


def _ranks(scores: np.ndarray) -> np.ndarray:
    """(n, K) rank of each score among the distinct scores of its column, of the smallest unsigned type."""
    columns = [np.unique(column, return_inverse=True)[1] for column in scores.T]
    ranks = np.stack(columns, axis=1)
    return ranks.astype(np.min_scalar_type(int(ranks.max())))
