"""Class tokens: order of the sets and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.class_tokens import ClassTokens, split_token_sets


def test_receiver_stands_before_classification():
    module = ClassTokens(width=3, num_tokens=2, receiver=True)
    params = {"classification": jnp.full((1, 2, 3), 7.0), "receiver": jnp.full((1, 2, 3), 5.0)}
    tokens = module.apply({"params": params}, 4)
    np.testing.assert_array_equal(tokens[:, :, 0], np.tile([5.0, 5.0, 7.0, 7.0], (4, 1)))
    receiver, classification = split_token_sets(tokens, 2)
    assert (np.asarray(receiver) == 5.0).all()
    assert (np.asarray(classification) == 7.0).all()


def test_one_set_has_no_receiver():
    module = ClassTokens(width=3, num_tokens=2)
    variables = module.init(jax.random.key(0), 1)
    assert set(variables["params"]) == {"classification"}
    tokens = module.apply(variables, 2)
    receiver, classification = split_token_sets(tokens, 2)
    assert receiver is None
    np.testing.assert_array_equal(classification, tokens)


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="2 or 4 class tokens, got 3"):
        split_token_sets(jnp.zeros((1, 3, 1)), 2)
    with pytest.raises(ValueError, match="num_tokens=0"):
        ClassTokens(width=3, num_tokens=0).init(jax.random.key(0), 1)
