"""Traces: runs, nodes, attempts and what they asked for, as spans that go to an OTLP receiver (docs/traces.md)."""
