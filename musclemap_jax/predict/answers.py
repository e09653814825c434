"""What a model says about windows, and the prediction that they make together.

Letters of shapes: B clips, W windows, K muscle regions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

import jax
import numpy as np

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.examples import empty_batch, write_example
from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.eval import score_link
from musclemap_jax.eval.decisions import Decisions
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.predict.frames import FrameStream
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.windows import Window
from musclemap_jax.train.losses import link_of

LABEL_KEYS = ("muscles", "clip_valid", "clip_index")
"""What a batch holds beside the model's input."""

BATCH_SIZE = {"cpu": 1}
"""Windows that are computed together, by platform; a CPU gains nothing from more."""

DEFAULT_BATCH_SIZE = 8

MAX_SPANS = 6
"""Times that a warning names."""


class Answerer(Protocol):
    """The part of `model.Model` that answers need; its docstring describes the attributes."""

    spec: ExperimentSpec
    input: InputSpec
    regions: tuple[str, ...]
    decisions: Decisions | None

    def apply(self, batch: Mapping[str, jax.Array | np.ndarray]) -> ModelOutput: ...


class Answer(NamedTuple):
    """What a model says about one window.

    Attributes:
      times_s: Start and end of the window in seconds.
      persons: Numbers of the persons seen in it (`windows.Window.seen`).
      person: Number of the only person whom the model was shown; None for all.
      logits: (K,) float32.
      branch_logits: {branch: (K,)}.
      spoke: The branches that saw something.
      limb_motion: (2, 2) float32, as in `Prediction`.
    """

    times_s: tuple[float, float]
    persons: tuple[int, ...]
    person: int | None
    logits: np.ndarray
    branch_logits: dict[str, np.ndarray]
    spoke: tuple[str, ...]
    limb_motion: np.ndarray


class Uncalibrated:
    """Probabilities as the model states them, and every region that is more probable than not."""

    def __init__(self, loss: str) -> None:
        """Takes the name of the loss, which says how logits become probabilities."""
        self._link = link_of(loss)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(..., K) float64; NaN where the logits are NaN."""
        return score_link.probabilities(score_link.log_odds(logits, self._link))

    def active(self, logits: np.ndarray) -> np.ndarray:
        """(..., K) bool; False where the logits are NaN."""
        return self.probabilities(logits) > 0.5

    def rule(self) -> str:
        """One sentence that says how regions become active."""
        return (
            "A region is active if its probability is above 50 %; nothing was calibrated: evaluate the run with "
            "--mode=eval, which writes decisions.json."
        )


def answer_windows(model: Answerer, rows: Iterable[tuple[Window, int | None]]) -> Iterator[Answer]:
    """Runs a model on windows, a batch at a time.

    Args:
      model: The model.
      rows: Windows, each with the number of the only person to show, or None for all.

    Yields:
      The answers, in the order of the rows.
    """
    batch_size = BATCH_SIZE.get(jax.default_backend(), DEFAULT_BATCH_SIZE)
    rows = iter(rows)
    while chunk := tuple(itertools.islice(rows, batch_size)):
        yield from _answer(model, chunk, batch_size)


def compile_answers(model: Answerer) -> None:
    """Compiles what `answer_windows` runs, so that the first answer comes as fast as the others."""
    for _ in _answer(model, (), BATCH_SIZE.get(jax.default_backend(), DEFAULT_BATCH_SIZE)):
        pass


def _answer(model: Answerer, rows: Sequence[tuple[Window, int | None]], batch_size: int) -> Iterator[Answer]:
    """Answers of one batch, which is padded to a fixed size so that it is compiled once."""
    inputs = model_inputs(model.input, [window.record(person) for window, person in rows], batch_size)
    output = jax.device_get(model.apply(inputs))
    branches, always = tuple(model.spec.model.weights), np.ones(batch_size, bool)
    for place, (window, person) in enumerate(rows):
        spoke = tuple(name for name in branches if output.present.get(name, always)[place])
        yield Answer(
            times_s=window.times_s,
            persons=window.seen,
            person=person,
            logits=output.logits[place],
            branch_logits={name: output.branch_logits[name][place] for name in branches},
            spoke=spoke,
            limb_motion=window.limb_motion(person),
        )


def model_inputs(spec: InputSpec, records: Sequence[ClipRecord], batch_size: int) -> dict[str, np.ndarray]:
    """What a model takes of windows: arrays with a row a window, and empty rows up to the size of the batch."""
    batch = empty_batch(spec, batch_size, batch_size - len(records), spec.views_per_clip)
    for place, record in enumerate(records):
        write_example(batch, place, record, place, spec)
    return {name: cast(np.ndarray, value) for name, value in batch.items() if name not in LABEL_KEYS}


def make_prediction(
    model: Answerer, stream: FrameStream, answers: Sequence[Answer], person: int | None = None
) -> Prediction:
    """Puts the answers for the windows of a video together.

    Args:
      model: The model.
      stream: The video, read to its end.
      answers: At least one, in the order of time.
      person: Number of the person whom they are about; None for the most prominent ones.
    """
    answered = np.array([bool(answer.spoke) for answer in answers])[:, None]
    decided = model.decisions or Uncalibrated(model.spec.loss.kind)
    logits = np.where(answered, np.stack([answer.logits for answer in answers]), np.nan)
    return Prediction(
        source=stream.name,
        regions=model.regions,
        duration_s=stream.num_frames / stream.fps,
        fps=stream.fps,
        times_s=np.array([answer.times_s for answer in answers], np.float64),
        logits=logits,
        probabilities=decided.probabilities(logits),
        active=decided.active(logits),
        branch_probabilities=_branch_probabilities(model, answers),
        modalities=tuple(_modalities(answer.spoke) for answer in answers),
        persons=tuple(answer.persons for answer in answers),
        limb_motion=np.stack([answer.limb_motion for answer in answers]),
        person=person,
        decision_rule=decided.rule(),
        warnings=tuple(_warnings(model, answers)),
    )


def _modalities(branches: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(BRANCHES[name].modality for name in branches))


def _branch_probabilities(model: Answerer, answers: Sequence[Answer]) -> dict[str, np.ndarray]:
    """{branch: (W, K)} by the link of the loss, without calibration; NaN where the branch saw nothing."""
    link = Uncalibrated(model.spec.loss.kind).probabilities
    nothing = np.full(len(model.regions), np.nan)
    return {
        name: np.stack([link(a.branch_logits[name]) if name in a.spoke else nothing for a in answers])
        for name in answers[0].branch_logits
    }


def _warnings(model: Answerer, answers: Sequence[Answer]) -> Iterator[str]:
    """Sentences on what limits the answers."""
    for name in answers[0].branch_logits:
        silent = [answer.times_s for answer in answers if name not in answer.spoke]
        if not silent:
            continue
        others = _modalities([other for other in answers[0].branch_logits if other != name])
        rest = f"the answer rests on {' and '.join(others)} alone" if others else "there is no answer"
        yield f"No person found in {_spans(silent)}: {rest}."
    chosen = answers[0].person is not None
    if not chosen and len({person for answer in answers for person in answer.persons}) > model.input.num_persons:
        yield (
            f"More persons are seen than the model takes ({model.input.num_persons}): "
            "it was shown the most prominent ones of each window."
        )


def _spans(times_s: Sequence[tuple[float, float]]) -> str:
    """Windows as text, with those that touch joined: ``0.0-8.0 s, 12.0-16.0 s``; long lists are cut."""
    spans: list[list[float]] = []
    for start, end in times_s:
        if spans and start <= spans[-1][1]:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    shown = ", ".join(f"{start:.1f}-{end:.1f} s" for start, end in spans[:MAX_SPANS])
    more = len(spans) - MAX_SPANS
    return f"{shown} and {more} more" if more > 0 else shown
