"""The checker of jaxtyping's annotations in the suite."""

import beartype

check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
"""An int is accepted for a float, as in PEP 484."""
