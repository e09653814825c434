"""The made-up evaluation that the tests of metrics use, for reports."""

from tests.eval.conftest import decision_metrics, metrics, predictions

__all__ = ["decision_metrics", "metrics", "predictions"]
