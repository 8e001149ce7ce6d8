"""The atheris target for the RMP codec; `scripts/fuzz` runs it. Needs the `fuzz` extra."""

import sys

import atheris

with atheris.instrument_imports(include=["runloop.rmp"]):
    from rmp_invariants import check_input

if __name__ == "__main__":
    atheris.Setup(sys.argv, check_input)
    atheris.Fuzz()
