"""How far the base goes for who asks, where nothing else is said."""

MAX_STEPS = 2000
"""Steps of an explanation."""
MAX_DEPTH = 64
"""Links of an explanation, one behind the other."""
MAX_ROWS = 1000
"""Rows that a query gives."""
MAX_SECONDS = 5.0
"""What a query may take."""
