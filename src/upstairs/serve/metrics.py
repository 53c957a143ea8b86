"""What Prometheus may ask: requests, latency, sizes of supports, novelty, and how well predictions meet the labels that follow.

With several workers each writes to files of its own in one folder, named by PROMETHEUS_MULTIPROC_DIR, and whichever is asked
adds them all up.
"""

import os
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["MEDIA_TYPE", "Metrics"]

MEDIA_TYPE = "text/plain; version=1.0.0; charset=utf-8"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROWS = (0, 1, 2, 5, 10, 20, 50, 100, 1000, 10_000)
_SHARES = tuple(k / 10 for k in range(1, 11))
_ERRORS = (0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 5, 10)


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("upstairs_requests", "Requests answered.", ["operation", "status"], **own)
        self._seconds = Histogram(
            "upstairs_request_seconds", "From the request to the answer.", ["operation"], buckets=_SECONDS, **own
        )
        self._support = Histogram("upstairs_support_rows", "Support rows behind a prediction.", ["model"], buckets=_ROWS, **own)
        self._query = Counter("upstairs_predicted_rows", "Rows predicted.", ["model"], **own)
        self._novelty = Histogram(
            "upstairs_novelty", "p-values of tasks; many small ones are news.", ["model"], buckets=_SHARES, **own
        )
        self._residual = Histogram(
            "upstairs_residual",
            "Absolute error by standard deviation of a prediction, when the label arrives; about 0.8 on average.",
            ["model"],
            buckets=_ERRORS,
            **own,
        )
        self._covered = Counter(
            "upstairs_interval",
            "90 % intervals, or classes, that met (yes) or missed (no) the label that arrived.",
            ["model", "met"],
            **own,
        )
        self._reloads = Counter("upstairs_model_loads", "Model files loaded or refused.", ["model", "outcome"], **own)

    def request(self, operation: str, status: int, seconds: float) -> None:
        self._requests.labels(operation, status).inc()
        self._seconds.labels(operation).observe(seconds)

    def prediction(self, model: str, shots: int, n_rows: int) -> None:
        self._support.labels(model).observe(shots)
        self._query.labels(model).inc(n_rows)

    def novelty(self, model: str, p_value: float) -> None:
        self._novelty.labels(model).observe(p_value)

    def labels_arrived(self, model: str, residuals: np.ndarray | None, met: np.ndarray) -> None:
        """Errors by standard deviation [n], None for classes, and whether the interval or class was right [n]."""
        for residual in () if residuals is None else np.abs(residuals).tolist():
            self._residual.labels(model).observe(residual)
        for word, count in (("yes", int(met.sum())), ("no", int((~met).sum()))):
            self._covered.labels(model, word).inc(count)

    def model_file(self, model: str, loaded: bool) -> None:
        self._reloads.labels(model, "loaded" if loaded else "refused").inc()

    def text(self) -> bytes:
        """In Prometheus's format."""
        if FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
            return generate_latest(registry)
        return generate_latest(self._registry)
