"""Histories of shells."""
