"""Pruning: the records of old, ended runs move to an archive, and a signed checkpoint takes their place in the chain (ADR 6)."""
