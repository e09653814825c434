"""Packaging of musclemap_jax: the packages, their data files and the extras.

Lower bounds are versions that were installed and tested together on CPython 3.11. There are upper bounds only where
private names are overridden or used, which any minor release may change:

- jax: `jax._src.distributed.global_state` (`musclemap_jax/runtime/peers.py`)
- orbax-checkpoint: `CheckpointManager._load_checkpoint_infos` (`musclemap_jax/checkpoints/checkpointer.py`)
- tensorflow-datasets: `DatasetBuilder._download_and_prepare`, `_as_dataset`, `_log_download_bytes` and
  `_log_download_done` (`tfds_musclemap/musclemap/musclemap_dataset_builder.py`)
"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "musclemap_jax" / "__init__.py").read_text()).group(1)

CONFIGS = {"musclemap_jax.configs": "configs"} | {
    f"musclemap_jax.configs.{folder.name}": f"configs/{folder.name}"
    for folder in sorted((ROOT / "configs").iterdir())
    if folder.is_dir() and folder.name.isidentifier() and not folder.name.startswith("_")
}
"""Packages of configurations and their folders."""

INSTALL_REQUIRES = [
    "absl-py>=2.5.1",
    "array_record>=0.8.6",
    "av>=18.1.0",
    "etils[epath]>=1.15.0",
    "flatbuffers>=25.12.19",
    "flax>=0.12.8",
    "fsspec>=2026.9.0",
    "grain>=0.2.18",
    "importlib_resources>=7.1.0",
    "jax>=0.10.2,<0.11",
    "jaxtyping>=0.3.11",
    "jinja2>=3.1.6",
    "matplotlib>=3.11.2",
    "ml_collections>=1.1.0",
    "ml_dtypes>=0.6.0",
    "msgpack>=1.2.4",
    "numpy>=2.4.6",
    "opencv-python-headless>=5.0.0.93",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8,<0.13",
    "pillow>=12.3.0",
    "safetensors>=0.8.0",
    "scikit-learn>=1.9.1",
    "simplejpeg>=1.9.0",
    "tensorboardX>=2.6.5",
    "tensorflow-datasets>=4.9.10,<4.10",
    "threadpoolctl>=3.7.0",
    "tqdm>=4.70.1",
]

EXTRAS_REQUIRE = {
    # Accelerators: jax brings the matching libtpu or CUDA wheels.
    "tpu": ["jax[tpu]>=0.10.2"],
    "cuda": ["jax[cuda13]>=0.10.2"],
    # Workdirs and data on Google Cloud Storage (gs://).
    "gcs": ["gcsfs>=2026.10.1"],
    # The `tfds build` command line, and TFDS's own test case (dill); the library itself needs no TensorFlow.
    "tfds": ["tensorflow-cpu>=2.21.0", "apache-beam>=2.77.0", "mlcroissant>=1.1.1", "dill>=0.4.1"],
    "beam": ["apache-beam>=2.77.0"],
    # Skeletons by MediaPipe. Later releases work too, but report their use to their makers at every start, and bring
    # opencv-contrib-python, which overwrites the files of opencv-python-headless.
    "pose": ["mediapipe>=0.10.30,<0.10.32"],
    # The page of predict/web.
    "web": ["tornado>=6.6.1"],
    # What Google's Scenic needs; it is not on PyPI (the package of that name there is another project), and
    # tools/install_scenic.py installs it from a checkout.
    "scenic": ["tensorflow-cpu>=2.21.0", "tensorboard>=2.20.0", "clu>=0.0.12", "immutabledict>=4.2.1", "scipy>=1.16"],
    "docs": ["mkdocs>=1.6.1,<2", "mkdocs-material>=9.8.2,<10", "mkdocstrings-python>=2.0.11"],
    "dev": [
        "beartype>=0.22.9",  # what apache-beam, of the extra tfds, allows too
        "hypothesis>=6.170.15",
        "ipykernel>=7.4.0",
        "nbclient>=0.11.0",
        "pre-commit>=4.7.0",
        "pytest>=9.2.0",
        "pytest-xdist>=3.8.0",
        "ruff>=0.17.6,<0.18",
        "setuptools>=84.2.1",
        "tornado>=6.6.1",
        "ty>=0.0.108,<0.0.109",
    ],
}

setuptools.setup(
    name="musclemap_jax",
    version=VERSION,
    description="TransM3E in JAX: activated muscle group estimation from video and skeletons",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*setuptools.find_packages(include=["musclemap_jax*", "tfds_musclemap*"]), *CONFIGS],
    package_dir=CONFIGS,  # an installed package finds them by name
    package_data={
        "musclemap_jax": [
            "py.typed",
            "reporting/*.html",
            "reporting/*.css",
            "study/*.html",
            "study/*.css",
            "study/*.svg",
            "stress/*.html",
            "predict/*.html",
            "predict/*.css",
            "predict/*.json",
            "predict/*.txt",
            "predict/*.md",
            "predict/shipped/*",
            "predict/web/*.html",
            "predict/web/*.css",
            "predict/web/*.js",
        ],
        "tfds_musclemap": [
            "py.typed",
            "musclemap/*.md",
            "musclemap/*.bib",
            "musclemap/*.txt",
            "musclemap/dummy_data/**/*",
        ],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
)
