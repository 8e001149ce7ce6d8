"""`rlp kb query` over many events, with the process that each statement gets, and what masking takes."""

import functools
import tempfile
import time
from pathlib import Path

from _base import CALLS, Words, batches, runs
from _common import RUNS, arguments, repeat, report

from runloop.kb import Ledger
from runloop.kb.database import connect
from runloop.kb.queries import Request, query_process
from runloop.kb.redaction import Redactor
from runloop.kb.views import create

EVENTS_OF_A_RUN = 5 + 2 * CALLS
STATEMENTS = {
    "nothing": "SELECT 1",
    "count": "SELECT count(*) FROM events",
    "group_by_kind": "SELECT kind, count(*) FROM events GROUP BY kind",
    "newest_ten": "SELECT id, kind, ts_ms FROM events ORDER BY id DESC LIMIT 10",
    "last_100_whole": "SELECT * FROM events WHERE id > {late}",
    "one_event": "SELECT * FROM events WHERE id = {late}",
    "1000_payloads": "SELECT payload_json FROM events LIMIT 1000",
}
TEXT = "Ask Ada about the Q4 plan on 2026-03-11 at 10:00: it costs 1,200.50 EUR, see https://example.com/plan?page=2 and run 0f8fad5b. " * 3


def asked(request, sql):
    begin = time.perf_counter()
    with query_process() as ask:
        ask(request(sql))
    return (time.perf_counter() - begin) * 1000


def texts_a_second(text, count):
    redactor = Redactor("benchmark")
    begin = time.perf_counter()
    for number in range(count):
        redactor.text(f"{text} {number}")
    return count / (time.perf_counter() - begin)


def main():
    options = arguments(__doc__, events="events in the ledger (default 1,000,000)")
    events = int(options.events or (2_000 if options.small else 1_000_000))
    times = 1 if options.small else max(RUNS, options.runs)
    with tempfile.TemporaryDirectory() as folder:
        ledger_file, views_file = Path(folder) / "events.sqlite", Path(folder) / "pog.sqlite"
        with Ledger.open(ledger_file) as ledger:
            for batch in batches(runs(Words(), events // EVENTS_OF_A_RUN)):
                ledger.append(batch, check=False)
            head = ledger.head().id
            views = connect(views_file)
            create(views, ledger.id, b"\0" * 32)  # the derived tables are not what is measured
            views.close()
        request = functools.partial(Request, views=str(views_file), ledger=str(ledger_file), salt="benchmark", max_seconds=120)

        def measure():
            found = {f"{name}_ms": asked(request, sql.format(late=head - 100)) for name, sql in STATEMENTS.items()}
            count = 200 if options.small else 5_000
            return {
                **found,
                "texts_per_s": texts_a_second(TEXT, count),
                "texts_with_an_address_per_s": texts_a_second(f"{TEXT} ada@x.org", count),
            }

        figures = repeat(measure, runs=times)
        report("queries", figures, "runloop", "apsw", events=head, text_bytes=len(TEXT), ledger_mb=round(ledger_file.stat().st_size / 1e6))


if __name__ == "__main__":
    main()
