# Sourced by the scripts: find Python, make .venv, install Runloop and what the checks need. Not for running by itself.
# Sets ROOT and PY; says in one line what is missing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PY=$ROOT/.venv/bin/python

fail() {
    printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
    exit 1
}

# Whether an environment made by this Python gets a pip: its own, or (Debian without python3-venv) the system's, working on the environment.
can_install() { "$1" -c 'import ensurepip' >/dev/null 2>&1 || "$1" -m pip --version >/dev/null 2>&1; }

# The first Python that is new enough and can make virtual environments. A pyenv shim of a version that is not active fails the try.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.14 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && can_install "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# ensure_programs NAME…: each a program and the Debian package that has it, or PROGRAM=PACKAGE; installed by root where apt-get is there, else asked for. A
# Python that can make environments goes with them where none is there, so that whoever installs packages is asked once and before all else.
ensure_programs() {
    local name missing=() packages
    for name; do command -v "${name%=*}" >/dev/null 2>&1 || missing+=("$name"); done
    packages=("${missing[@]#*=}")
    [ -x "$PY" ] || find_python >/dev/null || packages=(python3 python3-venv "${packages[@]}")
    [ ${#packages[@]} -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        printf '== Debian packages: %s\n' "${packages[*]}"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >/dev/null 2>&1 || true
    fi
    for name in "${missing[@]}"; do
        command -v "${name%=*}" >/dev/null 2>&1 || fail "needs ${missing[*]%=*}. On Debian and Ubuntu: apt-get install ${packages[*]}"
    done
}

# ensure_env EXTRA: .venv with Runloop and the extra ("dev" or ""), as the sources say now. Nothing is fetched when that is already so.
ensure_env() {
    local extra=$1 python stamp wanted
    if [ ! -x "$PY" ] || ! "$PY" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$(find_python) || fail "needs Python 3.11 or newer with venv. On Debian and Ubuntu: apt-get install python3 python3-venv. Or name one: PYTHON=/path/to/python3.12 $0"
        printf '== environment: .venv with %s\n' "$("$python" --version)"
        if "$python" -c 'import ensurepip' >/dev/null 2>&1; then
            "$python" -m venv "$ROOT/.venv" || fail "could not make $ROOT/.venv"
        else
            "$python" -m venv --without-pip "$ROOT/.venv" && "$python" -m pip --python "$PY" install --quiet --disable-pip-version-check pip </dev/null ||
                fail "could not make $ROOT/.venv with a pip. On Debian and Ubuntu: apt-get install python3-venv"
        fi
    fi
    stamp=$ROOT/.venv/.installed-$extra
    # The guest is built by the installation, so its sources count too.
    wanted=$(find "$ROOT/pyproject.toml" "$ROOT/hatch_build.py" "$ROOT/runloop_agent" "$ROOT/runloop/sandbox/guest" "$ROOT/runloop/sandbox/wit" \
        -type f ! -name '*.pyc' -exec cksum {} + | LC_ALL=C sort | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$PY" -c 'import runloop' 2>/dev/null; then
        return
    fi
    printf '== install: runloop%s, editable (what it needs is fetched and the Python guest is built: some minutes the first time)\n' "${extra:+ and its $extra tools}"
    "$PY" -m pip install --quiet --disable-pip-version-check --no-input -e "$ROOT${extra:+[$extra]}" </dev/null ||
        fail "the installation failed (see above). If it is the network: install into .venv on a machine that has one, or set PIP_INDEX_URL or PIP_FIND_LINKS."
    printf '%s\n' "$wanted" >"$stamp"
}
