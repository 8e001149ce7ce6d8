"""agtop: what runs, what it waits for and what it would let out, on one screen. ``docs/agtop.md`` is its page.

``model``, ``board``, ``series`` and ``draw_*`` are pure: records in, lines out. Feeds bring the records, ``app`` shows the lines, ``plain``
prints them. What only the command line can do (the knowledge base, masks) comes in through ``ports``.
"""
