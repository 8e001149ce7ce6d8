"""Calendars in the form of RFC 5545."""
