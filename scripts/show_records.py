"""Run records (NDJSON) on stdin, one line for people each on stdout; live-only progress is left out."""

import json
import sys

for line in sys.stdin:
    record = json.loads(line)
    if record["event_id"] is not None:
        print(f"{record['level']:5} {record['kind']:20} {record['message']}", flush=True)
