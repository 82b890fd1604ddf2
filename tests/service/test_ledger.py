"""Notes are counted once each: when the metrics are read, when there are many, and from any thread."""

from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import Metrics


def test_notes_are_counted_when_the_metrics_are_read() -> None:
    metrics = Metrics(CollectorRegistry())
    for seconds in (0.002, 0.2):
        metrics.note(metrics.decode_seconds.observe, seconds)
    metrics.note(metrics.inflight.inc, 3)
    text = generate_latest(metrics.registry).decode()
    assert "sca_decode_seconds_count 2.0" in text and "sca_inflight_images 3.0" in text
    assert metrics.registry.get_sample_value("sca_decode_seconds_sum") == 0.202
    assert metrics.registry.get_sample_value("sca_decode_seconds_count") == 2  # and not again


def test_many_notes_are_counted_without_anyone_reading() -> None:
    counted: list[float] = []
    metrics = Metrics(CollectorRegistry())
    for number in range(1000):
        metrics.note(counted.append, number)
    assert len(counted) >= 700 and counted == list(range(len(counted)))


def test_notes_of_several_threads_are_counted_once() -> None:
    metrics = Metrics(CollectorRegistry())

    def note(_: int) -> None:
        for _ in range(5000):
            metrics.note(metrics.inflight.inc)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(4)))
    assert metrics.registry.get_sample_value("sca_inflight_images") == 20_000
