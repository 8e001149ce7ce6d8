"""Why a run cannot go on by itself."""

from __future__ import annotations

from runloop.errors import Denied


class NeedsPerson(Denied):
    """Only a person can say how a recovered run goes on, and nobody is there. The run stays as it is."""

    code = "run.needs_person"
