"""docs/scenic.md's `tf.data` examples, run as they stand on the rendered clips."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.tfds

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "scenic.md").read_text(), re.DOTALL)

OWN = """
import json
rows = [(tuple(row["inputs"].shape), int(row["label"].sum())) for row in tfds.as_numpy(dataset)]
print(json.dumps({"num": len(rows), "shape": rows[0][0], "labels": [labels for _, labels in rows]}))
"""

SCENIC = """
    masks = globals().setdefault("masks", [])
    masks += batch["batch_mask"].ravel().tolist()
import json
print(json.dumps({"shape": batch["inputs"].shape, "masks": masks, "length": len(masks)}))
"""

BIG_VISION = """
import json
import numpy as np
taken = list(batches.take(num_batches).as_numpy_iterator())
masks = np.concatenate([batch["_mask"] for batch in taken]).tolist()
ids = np.concatenate([batch["_id"] for batch in taken])[np.array(masks)].tolist()
print(json.dumps({"masks": masks, "num_ids": len(set(ids)), "shape": taken[0]["inputs"].shape}))
"""


def run(script, data_dir):
    script = script.replace('data_dir="data"', f'data_dir="{data_dir}"').replace("/multimodal", "/synthetic_smoke")
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}  # one device
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def counts(smoke_data):
    """Number of clips of each split."""
    pytest.importorskip("tensorflow")
    (info,) = smoke_data.rglob("dataset_info.json")
    return {split["name"]: sum(map(int, split["shardLengths"])) for split in json.loads(info.read_text())["splits"]}


def test_tfds_load_gives_frames_and_labels(smoke_data, counts):
    found = run(BLOCKS[0] + OWN, smoke_data)
    assert (found["num"], found["shape"]) == (counts["train"], [8, 64, 64, 3])
    assert min(found["labels"]) >= 1


def test_scenics_pipeline_takes_it(smoke_data, counts):
    if importlib.util.find_spec("scenic") is None:
        pytest.skip("Scenic is not installed: tools/install_scenic.py")
    found = run(BLOCKS[0] + BLOCKS[1] + SCENIC, smoke_data)
    assert found["shape"] == [1, 8, 8, 64, 64, 3]
    assert (sum(found["masks"]), found["length"] % 8) == (counts["val_known"], 0)


def test_big_visions_pipeline_takes_it(smoke_data, counts):
    if importlib.util.find_spec("big_vision") is None:
        pytest.skip("big_vision is not on the path: git clone https://github.com/google-research/big_vision")
    found = run(BLOCKS[0] + BLOCKS[2] + BIG_VISION, smoke_data)
    assert (sum(found["masks"]), found["num_ids"]) == (counts["val_known"], counts["val_known"])
    assert found["shape"] == [8, 8, 64, 64, 3]
