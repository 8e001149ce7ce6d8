"""Exports: the events themselves as JSON Lines, which can be taken in again; the graph as GraphML; an entity as Markdown."""
