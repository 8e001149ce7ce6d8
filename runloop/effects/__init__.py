"""Hostcalls: the catalogue, the journal, and the performers that alone touch the outside."""
