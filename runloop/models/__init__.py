"""The model broker: providers, routing, retries, budgets, cost and cache. Effects reach it through ``runloop.effects.perform.model``."""
