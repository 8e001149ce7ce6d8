"""Runloop: an agent operating layer for the terminal."""

__version__ = "0.1.0"
