"""Where in a file the model is: under any path, beside a head, one of several copies."""

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.prefixes import locate
from musclemap_jax.pretrained.source import SourceTensor

BODY = ("patch.weight", *(f"blocks.{block}.norm.{leaf}" for block in range(3) for leaf in ("weight", "bias")))
HEAD = ("head.weight", "head.bias")
TABLE = {*BODY, *HEAD}


def tensors(*names):
    return {name: SourceTensor((1,), lambda: np.zeros(1, np.float32)) for name in names}


def under(prefix, names=(*BODY, *HEAD)):
    return [f"{prefix}{name}" for name in names]


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "model.",
        "backbone.",
        "state_dict.model.",
        "model_state.module.backbone.",
        "student.backbone.",
        "model_ema.module.",
        "anything.at.all.",
        "0.",
    ],
)
def test_one_model_under_any_path(prefix):
    located = locate(tensors(*under(prefix)), TABLE, "file")
    assert located.prefix == prefix
    assert located.tensors.keys() == TABLE
    assert located.outside == ()


def test_other_arrays_are_counted_by_the_first_part_of_their_names():
    names = [*under("model_state."), "optimizer.state.0.exp_avg", "optimizer.state.0.step", "best"]
    located = locate(tensors(*names), TABLE, "file")
    assert {(each.name, each.rule) for each in located.outside} == {
        ("optimizer.*", "outside of the model (2 arrays)"),
        ("best", "outside of the model (1 arrays)"),
    }


@pytest.mark.parametrize("head", ["", "module.", "module.model."])
def test_a_head_above_the_backbone_is_found(head):
    located = locate(tensors(*under("module.model.backbone.", BODY), *under(head, HEAD)), TABLE, "file")
    assert located.prefix == "module.model.backbone."
    assert located.tensors.keys() == TABLE
    assert located.outside == ()


def test_a_head_of_another_name_is_outside():
    located = locate(tensors(*under("backbone.", BODY), "cls_head.fc.weight"), TABLE, "file")
    assert located.tensors.keys() == {*BODY}
    assert [each.name for each in located.outside] == ["cls_head.*"]


@pytest.mark.parametrize(
    ("plain", "average"),
    [
        ("model.", "model_ema."),
        ("state_dict.", "state_dict_ema."),
        ("model_state.module.", "ema.module."),
        ("state_dict.model.", "state_dict.ema_model."),
        ("state_dict.", "averaged_model.module."),
        ("", "swa."),
        ("module.", "optimizer.exp_avg."),
    ],
)
def test_the_plain_weights_come_before_averages_which_can_be_chosen(plain, average):
    source = tensors(*under(average), *under(plain))
    located = locate(source, TABLE, "file")
    assert located.prefix == plain
    (copy,) = located.outside
    assert copy.name == f"{average}*"
    assert f"another copy of the model, chosen by --prefix={average} (9 arrays)" in copy.rule
    for given in (average, average.removesuffix("."), average.partition(".")[0]):
        if given == plain.partition(".")[0]:  # both lie below it
            continue
        assert locate(source, TABLE, "file", given).prefix == average
    assert locate(source, TABLE, "file", average).tensors.keys() == TABLE


def test_an_average_may_lack_statistics():
    located = locate(tensors(*under("model.", ("n.mean", *TABLE)), *under("ema.")), {*TABLE, "n.mean"}, "file")
    assert located.prefix == "model."
    assert [each.name for each in located.outside] == ["ema.*"]


def test_of_student_and_teacher_one_has_to_be_chosen():
    source = tensors(*under("student.backbone."), *under("teacher.backbone."))
    with pytest.raises(UserError) as caught:
        locate(source, TABLE, "file.pth")
    assert str(caught.value) == (
        "file.pth: holds the model 2 times: choose --prefix from 'student.backbone.', 'teacher.backbone.'"
    )
    for given in ("student", "teacher.backbone"):
        located = locate(source, TABLE, "file.pth", given)
        assert located.prefix.startswith(given)
        assert located.tensors.keys() == TABLE
        assert len(located.outside) == 1


def test_a_teacher_with_more_arrays_is_not_preferred():
    source = tensors(*under("student.", BODY), *under("teacher."))
    with pytest.raises(UserError, match=r"choose --prefix from 'student\.', 'teacher\.'"):
        locate(source, TABLE, "file.pth")
    assert locate(source, TABLE, "file.pth", "student").tensors.keys() == {*BODY}


def test_a_prefix_that_leads_to_the_plain_weights_and_to_an_average():
    source = tensors(*under("run1.model."), *under("run1.ema."), *under("run2.model."))
    assert locate(source, TABLE, "file", "run1").prefix == "run1.model."
    assert locate(source, TABLE, "file", "run1.ema").prefix == "run1.ema."
    nested = tensors(*under("ema."), *under("ema.swa."))
    assert locate(nested, TABLE, "file", "ema").prefix == "ema."


def test_a_prefix_that_is_not_there():
    with pytest.raises(UserError, match=r"f: --prefix: 'ema' is not in the file, which has the model under 'model\.'"):
        locate(tensors(*under("model.")), TABLE, "f", "ema")


def test_arrays_of_another_model_are_all_kept_for_the_error():
    located = locate(tensors("conv1.weight", "fc.weight"), TABLE, "f")
    assert located.tensors.keys() == {"conv1.weight", "fc.weight"}
