"""The page's server with a model whose answers are made up: `python -m tests.predict.web.fake_server`.

What a video's name begins with says what becomes of its worker: `crash`, `hang`, `bug` or `slow`.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
import types

from tests.predict import fake_model

WORKER = (sys.executable, "-c", "from tests.predict.web import fake_server; fake_server.work()")


class WorkersModel(fake_model.FakeModel):
    """Fails as a video's name says."""

    def predict(self, video, *, on_frame=None, **options):
        name = str(video)
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("hang"):
            time.sleep(600)
        if name.startswith("bug"):
            raise KeyError("bug")

        def observe(frame):
            on_frame(frame)
            if name.startswith("slow"):
                time.sleep(0.02)

        return super().predict(video, on_frame=observe, **options)


def work():
    """A worker."""
    fake_model.install()
    sys.modules["musclemap_jax.predict.model"].load = WorkersModel
    # JAX takes seconds to import, and is not needed.
    for name, functions in {
        "musclemap_jax.predict.answers": {"compile_answers": lambda model: None},
        "musclemap_jax.runtime.compilation_cache": {"use_compilation_cache": lambda: None},
    }.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(functions)
    from musclemap_jax.predict.web import exercises, worker

    exercises.exercise_names = lambda model: ["lunge", "squat"]
    exercises.coach_of = lambda model, exercise: (
        lambda prediction: dataclasses.replace(prediction, warnings=(f"expected {exercise}",))
    )
    worker.main()


def serve():
    """A server that is less patient than the real one."""
    from musclemap_jax.predict.web import __main__ as command
    from musclemap_jax.predict.web import jobs

    jobs.GRACE_S, jobs._SWEEP_S, jobs.CANCEL_S, command.SILENCE_S = 5.0, 0.1, 1.0, 10.0
    sys.exit(command.main(worker=WORKER))


if __name__ == "__main__":
    serve()
