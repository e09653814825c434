"""What the loop does with steps that are skipped because their loss is not finite: a step function says which are."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.preemption import Preempted
from musclemap_jax.runtime.profiling import Profiler
from musclemap_jax.runtime.progress import Progress
from musclemap_jax.runtime.watchdog import Watchdog
from musclemap_jax.sharding.mesh import make_mesh
from musclemap_jax.storage.run_log import SCALARS, RunLog
from musclemap_jax.storage.scalars import read_scalars
from musclemap_jax.train.loop import TrainingLoop, TrainSpec
from musclemap_jax.train.meter import Meter

FIRST = TrainState(
    step=jnp.int32(0),
    params={"video": jnp.zeros(())},
    batch_stats={},
    opt_state=(),
    ema=None,
    skipped=jnp.int32(0),
    seed=jnp.uint32(0),
)


class Batches:
    """Batches without content."""

    def __iter__(self):
        return self

    def __next__(self):
        return {"muscles": np.zeros((1, 1), np.float32)}

    def get_state(self):
        return {"place": 0}

    def set_state(self, state):
        pass


class Notice:
    """Asks to stop at a step, once, as the coordination service does."""

    def __init__(self, step):
        self.step, self.calls = step, 0

    def reached(self):
        self.calls += 1
        return self.calls == self.step


@dataclasses.dataclass
class Run:
    """What a run left behind."""

    workdir: object
    skipped: frozenset = frozenset()
    kd_gradient: object = None
    evaluated: list = dataclasses.field(default_factory=list)

    def step(self, state, batch):
        """Adds 1 to the parameter in each step that is not skipped."""
        number = int(state.step) + 1
        finite = number not in self.skipped
        skipped = jnp.int32(0) if finite else state.skipped + 1
        params = {"video": state.params["video"] + finite}
        state = dataclasses.replace(state, step=jnp.int32(number), params=params, skipped=skipped)
        return state, {"loss": jnp.float32(0.5 if finite else np.nan), "skipped": jnp.float32(skipped)}

    def evaluate(self, state):
        self.evaluated.append(int(state.step))
        return {"val_known/mAP": 0.5}

    def train(self, num_steps=10, stop_at=0, first=FIRST, **spec):
        """Trains with a checkpoint at every step, of which only the newest is kept; closes everything."""
        spec = TrainSpec(num_steps=num_steps, **{"checkpoint_every": 1, "keep_checkpoints": 1, "log_every": 1} | spec)
        with contextlib.ExitStack() as stack:
            checkpointer = stack.enter_context(contextlib.closing(Checkpointer(self.workdir, spec.keep_checkpoints)))
            return TrainingLoop(
                step_function=self.step,
                batches=Batches(),
                mesh=make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1]),
                spec=spec,
                num_steps=num_steps,
                checkpointer=checkpointer,
                log=stack.enter_context(contextlib.closing(RunLog(self.workdir, 0))),
                progress=Progress(0, num_steps),
                meter=Meter(1),
                evaluate=self.evaluate,
                notice=Notice(stop_at),
                watchdog=stack.enter_context(contextlib.closing(Watchdog(60, "stall"))),
                profiler=Profiler(self.workdir, range(0)),
                kd_gradient=self.kd_gradient,
            ).run(first)

    def checkpoints(self):
        return sorted(int(path.name) for path in (self.workdir / "checkpoints").iterdir())


def test_skipped_steps_do_not_push_out_the_last_good_checkpoint(tmp_path):
    run = Run(tmp_path, frozenset(range(4, 20)))
    with pytest.raises(UserError) as caught:
        run.train(max_skipped=5)
    assert run.checkpoints() == [3]
    assert str(caught.value) == (
        "step 8: loss or gradient was not finite in 5 steps in a row; the parameters are still those of step 3: lower "
        f"config.optimizer.learning_rate, with another --workdir and config.init_from.model={tmp_path}, which starts "
        "from the checkpoint of step 3"
    )


def test_without_a_checkpoint_the_same_workdir_may_be_used(tmp_path):
    with pytest.raises(UserError, match=r"those of step 0: lower config.optimizer.learning_rate$"):
        Run(tmp_path, frozenset(range(1, 20))).train(max_skipped=2)


def test_what_is_due_while_steps_are_skipped_is_done_after_them(tmp_path):
    run = Run(tmp_path, frozenset({4, 5}))
    state = run.train(num_steps=8, checkpoint_every=4, eval_every=5, keep_checkpoints=9)
    assert run.checkpoints() == [6, 8]  # instead of 4, 5 and 8
    assert run.evaluated == [6, 8]
    assert float(state.params["video"]) == 6


def test_a_run_that_is_asked_to_stop_saves_after_the_skipped_steps(tmp_path):
    run = Run(tmp_path, frozenset({4, 5}))
    with pytest.raises(Preempted, match="the state after step 6 of 10 is saved"):
        run.train(stop_at=4)
    assert run.checkpoints() == [6]
    assert run.evaluated == []


def test_the_last_step_is_saved_in_any_case(tmp_path):
    run = Run(tmp_path, frozenset({9, 10}))
    run.train()
    assert run.checkpoints() == [10]
    assert run.evaluated == [10]


def test_what_is_measured_in_some_steps_is_logged_with_the_next_line(tmp_path):
    def measure(state, batch):
        return {"kd_gradient_fraction": jnp.float32(state.step)}  # the steps taken before

    Run(tmp_path, kd_gradient=measure).train(num_steps=12, log_every=4, kd_gradient_every=3)
    logged = read_scalars(tmp_path / SCALARS)
    # Measured before steps 3, 6, 9 and 12, when 2, 5, 8 and 11 are done.
    np.testing.assert_array_equal(logged["train/kd_gradient_fraction"].values, [2, 5, (8 + 11) / 2])
    np.testing.assert_array_equal(logged["train/kd_gradient_fraction"].steps, [4, 8, 12])
    np.testing.assert_array_equal(logged["train/loss"].steps, [4, 8, 12])


def test_nothing_is_measured_unless_asked_for(tmp_path):
    Run(tmp_path, kd_gradient=pytest.fail).train(num_steps=2)
    assert "train/kd_gradient_fraction" not in read_scalars(tmp_path / SCALARS)


@pytest.mark.parametrize(("samples", "steps"), [(1, 26), (2, 51), (4, 101)])
def test_an_epoch_is_every_clip_with_all_of_its_samples(samples, steps):
    spec = TrainSpec(batch_size=8, num_epochs=2.0, samples_per_clip=samples)
    assert spec.total_steps(101) == steps  # 202 clips, 8 or 4 or 2 to a batch
