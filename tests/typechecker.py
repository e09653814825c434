"""The run-time check of annotations in the suite, shapes included.

Imported before the package. JAX accepts numpy arrays wherever it accepts its own, and so does the package, so arrays of
both kinds pass; everything else about them is checked.
"""

import beartype
import jax
import jaxtyping
import numpy as np

AnyArray = jax.Array | np.ndarray

jaxtyping.Array = AnyArray

check = beartype.beartype(
    conf=beartype.BeartypeConf(
        is_pep484_tower=True,  # an int is accepted for a float
        hint_overrides=beartype.FrozenDict({jax.Array: AnyArray}),
    )
)
