"""Requests: which opening a person means, and with which parameters. Pure: the same line and openings give the same answer."""
