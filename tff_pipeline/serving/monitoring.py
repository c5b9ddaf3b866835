"""Counts requests and calls for Prometheus, which reads /metrics."""

import prometheus_client

_SECONDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

# A second series for each, with the time of its beginning, which none asks for.
prometheus_client.disable_created_metrics()


class Monitor:
    """Counts the requests of one server, in a registry of its own.

    Attributes:
      content_type: The media type of `text`.
      in_flight: The gauge of requests that are being answered.
      waiting: The gauge of requests that wait for TensorFlow.
    """

    content_type = prometheus_client.CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        self._requests = prometheus_client.Counter(
            "serving_requests",
            "Requests answered, by what was asked for and status code.",
            ["endpoint", "code"],
            registry=self._registry,
        )
        # `labels` looks its names up each time, which is most of its cost.
        self._counters: dict[tuple[str, str], prometheus_client.Counter] = {}
        self._seconds = prometheus_client.Histogram(
            "serving_predict_seconds",
            "From a predict request's headers to the end of its response.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = prometheus_client.Histogram(
            "serving_batch_rows",
            "Rows in a call of TensorFlow.",
            buckets=_ROWS,
            registry=self._registry,
        )
        self.in_flight = prometheus_client.Gauge(
            "serving_requests_in_flight",
            "Requests that are being answered.",
            registry=self._registry,
        )
        self.waiting = prometheus_client.Gauge(
            "serving_requests_waiting",
            "Requests that wait for TensorFlow.",
            registry=self._registry,
        )

    def answered(self, endpoint: str, code: int, seconds: float) -> None:
        """Counts a response.

        Args:
          endpoint: The kind of request, such as "predict".
          code: The HTTP status.
          seconds: The time since the request's headers, in seconds.
        """
        key = endpoint, str(code)
        if key not in self._counters:
            self._counters[key] = self._requests.labels(*key)
        self._counters[key].inc()
        if endpoint == "predict":
            self._seconds.observe(seconds)

    def called(self, rows: int) -> None:
        """Counts a call of TensorFlow.

        Args:
          rows: The rows of its batch.
        """
        self._rows.observe(rows)

    def text(self) -> bytes:
        """Returns all counters in Prometheus's text format."""
        return prometheus_client.generate_latest(self._registry)
