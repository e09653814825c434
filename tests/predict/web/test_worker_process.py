"""The process that answers: one that has died is replaced."""

from __future__ import annotations

import asyncio
import sys

from musclemap_jax.predict.web.worker_process import WorkerProcess

WORKER = """
import sys
print('{"exercises": ["squat"]}', flush=True)
for line in sys.stdin:
    print('{"done": true}', flush=True)
"""


def test_a_worker_that_died_while_it_was_idle_is_replaced():
    async def use():
        worker = WorkerProcess((sys.executable, "-c", WORKER), silence_s=60)
        await worker.start()
        worker.kill()
        await asyncio.wait_for(worker._process.wait(), 60)
        assert await worker.answer({}, print) == {"done": True}
        await worker.stop()

    asyncio.run(use())
