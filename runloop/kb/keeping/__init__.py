"""Keeping a knowledge base: verify, backup, restore, migrate, vacuum and stats."""
