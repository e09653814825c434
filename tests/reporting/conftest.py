"""The made-up evaluation that the tests of metrics use, for reports."""

from tests.eval.conftest import metrics, predictions

__all__ = ["metrics", "predictions"]
