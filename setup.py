"""Packaging of musclemap_jax: the package, its data files and its extras.

The lower bounds are versions that were installed and tested together on CPython 3.11.
"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "musclemap_jax" / "__init__.py").read_text()).group(1)

INSTALL_REQUIRES = [
    "absl-py>=2.5.1",
    "array_record>=0.8.6",
    "av>=18.1.0",
    "etils[epath]>=1.15.0",
    "flax>=0.12.8",
    "fsspec>=2026.9.0",
    "grain>=0.2.18",
    "importlib_resources>=7.1.0",
    "jax>=0.10.2",
    "jinja2>=3.1.6",
    "matplotlib>=3.11.2",
    "ml_collections>=1.1.0",
    "ml_dtypes>=0.6.0",
    "numpy>=2.4.6",
    "opencv-python-headless>=5.0.0.93",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8",
    "pillow>=12.3.0",
    "safetensors>=0.8.0",
    "simplejpeg>=1.9.0",
    "tensorboardX>=2.6.5",
    "tensorflow-datasets>=4.9.10",
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
    # Skeletons by MediaPipe: these releases need a model file; docs/importing.md has the environment that needs none.
    "pose": ["mediapipe>=1.2.2"],
    # Google's Scenic is not on PyPI (the package of that name there is another project).
    "scenic": ["scenic @ git+https://github.com/google-research/scenic"],
    "dev": [
        "hypothesis>=6.170.15",
        "pre-commit>=4.7.0",
        "pytest>=9.2.0",
        "pytest-xdist>=3.8.0",
        "ruff>=0.17.6,<0.18",
        "scikit-learn>=1.9.1",
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
    packages=setuptools.find_packages(include=["musclemap_jax*", "tfds_musclemap*"]),
    package_data={
        "musclemap_jax": ["reporting/*.css", "reporting/*.html"],
        "tfds_musclemap": ["musclemap/*.md", "musclemap/*.bib", "musclemap/*.txt", "musclemap/dummy_data/**/*"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
)
