from hypothesis import given
from hypothesis import strategies as st

from runloop.tui.series import KEPT, Series, sparkline


def snapshot(ts_ms, gauges=None, counters=None):
    return {"ts_ms": ts_ms, "gauges": gauges or {}, "counters": counters or {}}


def test_counters_are_rates_of_a_second():
    series = Series()
    series.take(snapshot(1_000, counters={"sent": 10}))
    assert series.rate("sent") is None
    series.take(snapshot(3_000, counters={"sent": 30}))
    assert (series.rate("sent"), series.totals["sent"]) == (10.0, 30)


def test_what_nobody_measured_is_none_and_never_zero():
    series = Series()
    series.take(snapshot(1_000, {"rss": 5.0}))
    series.take(snapshot(2_000))
    assert (series.gauge("rss"), series.gauge("never"), series.rate("never")) == (None, None, None)


def test_a_counter_that_fell_belongs_to_a_new_daemon():
    series = Series()
    series.take(snapshot(1_000, counters={"sent": 100}))
    series.take(snapshot(2_000, counters={"sent": 3}))
    assert series.rate("sent") is None


def test_a_snapshot_that_comes_late_is_left():
    series = Series()
    series.take(snapshot(2_000, {"a": 1.0}))
    series.take(snapshot(2_000, {"a": 9.0}))
    assert (series.gauge("a"), series.version) == (1.0, 1)


def test_a_line_of_bars_goes_from_nothing_to_its_maximum():
    assert sparkline([0, 1, 2, None, 4], 6) == " ▁▃▅ █"
    assert sparkline([0, 0], 2) == "▁▁"
    assert sparkline([1, 2], 4, ascii_only=True) == "  +@"
    assert sparkline([1, 2], 0) == ""


@given(st.lists(st.none() | st.floats(0, 1e12)), st.integers(0, 300))
def test_a_line_of_bars_is_as_wide_as_was_asked(values, width):
    assert len(sparkline(values, width)) == width


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e9)), max_size=30))
def test_series_never_grow_beyond_their_bound_and_stay_aligned(samples):
    series = Series()
    for number, counters in enumerate(samples * 10):
        series.take(snapshot(number + 1, counters=counters))
    assert all(len(values) <= KEPT for values in series.rates.values())
    assert all(rate is None or rate >= 0 for values in series.rates.values() for rate in values)


def test_measuring_goes_on_when_the_clock_is_put_back():
    series = Series()
    for ts_ms, sent in ((7_200_000, 5), (7_201_000, 7), (3_600_000, 9), (3_601_000, 12)):
        series.take({"ts_ms": ts_ms, "gauges": {"workers": sent}, "counters": {"sent": sent}})
    assert (list(series.gauges["workers"]), list(series.rates["sent"])) == ([5, 7, 9, 12], [None, 2.0, None, 3.0])
