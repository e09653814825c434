"""What the flags choose, and what they refuse."""

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.stress.choice import choose
from musclemap_jax.stress.perturbations import PERTURBATIONS
from musclemap_jax.taxonomy import EVAL_SPLITS

BOTH = ("video", "skeleton")


def names(choice):
    return [each.name for each in choice.perturbations]


def test_all_perturbations_are_chosen_by_default():
    choice = choose([], ["test_new", "test_new"], BOTH)
    assert names(choice) == list(PERTURBATIONS)
    assert (choice.splits, choice.unseen) == (("test_new",), ())


def test_named_ones_come_in_the_order_of_the_table_and_those_unseen_are_left_out():
    choice = choose(["blur", "joint_noise", "tilt"], ["val_new"], ("skeleton",))
    assert names(choice) == ["joint_noise", "tilt"]
    assert choice.unseen == ("blur",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["blurr"], ["test_new"], BOTH), "--stress: expected perturbations, got 'blurr': try blur"),
        ((["joints"], ["test_new"], BOTH), "got 'joints': try joint_noise, missing_joints"),
        ((["xyz"], ["test_new"], BOTH), f"got 'xyz': try {', '.join(PERTURBATIONS)}"),
        (
            ([], ["test"], BOTH),
            f"--stress_splits: expected some of {', '.join(EVAL_SPLITS)}, got 'test'",
        ),
        (([], [], BOTH), f"--stress_splits: expected some of {', '.join(EVAL_SPLITS)}, got none"),
        (
            (["blur", "clutter"], ["test_new"], ("skeleton",)),
            "--stress: this run reads skeleton, which blur, clutter leaves as it is: choose some of joint_noise, "
            "missing_joints, missing_frames, frame_rate, mirror, tilt",
        ),
    ],
)
def test_what_is_impossible_is_refused_in_one_line(arguments, message):
    with pytest.raises(UserError) as raised:
        choose(*arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
