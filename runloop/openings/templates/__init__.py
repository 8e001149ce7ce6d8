"""Openings to begin with: well-known ways of working together, written out as plain nodes and edges (docs/templates.md)."""

from runloop.openings.templates.catalogue import TEMPLATES, Role, Template
from runloop.openings.templates.expand import Cast, expand

__all__ = ["TEMPLATES", "Cast", "Role", "Template", "expand"]
