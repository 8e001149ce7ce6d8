"""Search: what a person types, the full-text index, vectors where they are there, and one order of what both find."""

from runloop.kb.derived import DOMAINS
from runloop.kb.search.finding import MAX_LIMIT, Found, Nearest, Request, find
from runloop.kb.search.hits import Hit, find_document, hit_of

__all__ = ["DOMAINS", "MAX_LIMIT", "Found", "Hit", "Nearest", "Request", "find", "find_document", "hit_of"]
