# What people do with this repository. `just` alone lists the recipes; every one is a script that also runs without just.

set positional-arguments

default:
    @just --list --unsorted

# everything that CI checks; with arguments, only these tests
test *ARGS:
    scripts/test "$@"

# the demonstration: from an empty machine to a composed e-mail
demo *ARGS:
    scripts/demo "$@"

# style, types, import rules
lint *ARGS:
    scripts/lint "$@"

# repair style and format
fmt:
    scripts/lint --fix

# the measurements of benchmarks/results.md
bench *ARGS:
    scripts/bench "$@"

# feed the protocol decoder arbitrary bytes for so many seconds
fuzz SECONDS="60":
    scripts/fuzz "$1"

# attack a live bus with a client that mutates what it says, for so many seconds
fuzz-bus SECONDS="60" *ARGS:
    scripts/fuzz-bus "$@"

# a daemon under everything at once for so many seconds: runs, publishers, clients that come, go, stall and misbehave; then the accounts
soak SECONDS="600" *ARGS:
    scripts/soak "$@"

# random runs in a simulated world that crashes, stalls and meddles; 100,000 seeds unless told otherwise
sim *ARGS:
    scripts/sim "$@"

# kill a real daemon at so many random places of random openings, and see that nothing changed; --all: every place of one
crash *ARGS:
    scripts/crash "$@"

# a run that outlives its daemon, to watch
demo-durable:
    scripts/demo-durable

# write the generated pages of docs/
docs:
    scripts/python scripts/gen-docs

# build the documentation site into build/site; `just site --serve` shows it on this machine while pages are written
site *ARGS:
    scripts/site "$@"

# build the wheel into dist/
wheel:
    scripts/python -m pip wheel --no-deps --wheel-dir dist .

# build the Debian package into dist/
deb *ARGS:
    scripts/deb "$@"

# install, upgrade, remove and purge it in clean Debian systems (needs root)
test-deb *ARGS:
    scripts/test-deb "$@"
