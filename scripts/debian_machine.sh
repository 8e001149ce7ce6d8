# Clean Debian systems to try the package in; sourced by scripts that need root. A machine has a network of its own, which reaches nothing.
# Variables of the caller: suite (bookworm, trixie), mode (plain: a chroot in its own namespaces; booted: with systemd).
ROOTS=build/roots
scratch=$(mktemp -d)
holder=
root=
trap end_machines EXIT

fail() { printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2; exit 1; }
step() { printf '== %s %s: %s\n' "$suite" "$mode" "$1"; }

end_machines() {
    stop_machine
    rm -rf --one-file-system "$scratch"
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "needs root, for chroot and containers"
    for tool in debootstrap dpkg-deb nsenter systemd-nspawn unshare "$@"; do
        command -v "$tool" >/dev/null || fail "needs $tool: apt-get install debootstrap systemd-container $*"
    done
}

# newest_deb: the package that was built last.
newest_deb() {
    local found
    found=$(find dist -name 'runloop_*.deb' -printf '%T@ %p\n' 2>/dev/null | sort -rn | head -n 1 | cut -d' ' -f2)
    [ -n "$found" ] || fail "there is no package in dist/: scripts/deb builds one"
    printf '%s\n' "$found"
}

# base SUITE: the tar of a clean system with what the package depends on, and zsh.
base() {
    local tar=$ROOTS/$1.tar
    [ ! -f "$tar" ] || return 0
    mkdir -p "$ROOTS"
    debootstrap --variant=minbase --include=ca-certificates,init-system-helpers,procps,python3,systemd,zsh "$1" "$scratch/base" >"$scratch/debootstrap.log" ||
        fail "debootstrap $1 failed: $(tail -n 3 "$scratch/debootstrap.log")"
    tar -C "$scratch/base" -cf "$tar.new" . && mv "$tar.new" "$tar"
    rm -rf "$scratch/base"
}

# begin_machine FILE…: a machine with these files in /debs and an ordinary user, alice. `inside COMMAND…` runs something in it.
begin_machine() {
    root=$scratch/$suite-$mode
    mkdir "$root"
    tar -C "$root" -xf "$ROOTS/$suite.tar"
    mkdir -p "$root/debs"
    cp "$@" "$root/debs/"
    echo laptop >"$root/etc/hostname"
    printf '127.0.0.1 localhost laptop\n' >"$root/etc/hosts"
    if [ "$mode" = booted ]; then
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --private-network \
            --hostname=laptop --console=passive --link-journal=no </dev/null >"$scratch/console.log" 2>&1 &
        holder=$!
        until_true 240 "systemd has booted" booted
    else
        unshare --mount --pid --net --ipc --uts --fork --kill-child sh -c \
            'hostname laptop && mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/run" && exec chroot "$1" sleep infinity' sh "$root" </dev/null &
        holder=$!
        until_true 20 "the chroot is there" has_started
    fi
    inside useradd --create-home --shell /bin/zsh alice
}
leader() { pgrep -P "$holder" | head -n 1; }
booted() {
    [ -n "$(leader)" ] || return 1
    case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) return 1 ;; esac
}
has_started() { [ -n "$(leader)" ] && inside test -d /debs; }

CLEAN=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
inside() { nsenter --target "$(leader)" --all --root --wd "${CLEAN[@]}" DEBIAN_FRONTEND=noninteractive "$@"; }
as() {
    local user=$1
    shift
    inside setpriv --reuid "$user" --regid "$user" --init-groups --reset-env env LANG=C.UTF-8 "$@"
}

stop_machine() {
    local first
    if [ -n "$holder" ]; then
        # The first process takes the others of the machine with it; systemd-nspawn alone would leave them. A zombie has no program any more.
        first=$(leader)
        kill -KILL ${first:+"$first"} "$holder" 2>/dev/null || true
        wait "$holder" 2>/dev/null || true
        while [ -n "$first" ] && readlink -q "/proc/$first/exe" >/dev/null; do sleep 0.1; done
    fi
    holder=
    [ -z "$root" ] || rm -rf --one-file-system "$root"
    root=
}

# until_true SECONDS WHAT COMMAND…
until_true() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$limit" ]; then
            [ "$mode" = plain ] || inside journalctl --no-pager --unit runloopd --lines 20 >&2 || true
            fail "$suite $mode: not within its time: $what"
        fi
        sleep 0.2
    done
}
