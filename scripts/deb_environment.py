#!/usr/bin/env python3
"""Make the Python environment of the Debian package.

Usage: deb_environment.py lock | deb_environment.py build ARCHITECTURE TARGET

``lock`` asks the configured index what Runloop needs and writes debian/wheels.txt, versions and hashes. ``build`` fetches exactly these,
refuses everything else, and lays out TARGET (usr/lib/runloop of the package): one environment that works with every Python in PYTHONS,
what does not depend on the version of Python in it once. Needs pip and packaging; runs nothing of what it fetches.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from configparser import ConfigParser
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "debian" / "wheels.txt"
PYTHONS = ("3.11", "3.13")
"""The Pythons of Debian 12 and 13."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
EXTRAS = ("fast", "otlp")
_GLIBC = (*range(36, 16, -1), 12, 5)
"""What Debian 12 (glibc 2.36) can load, newest first."""
_HEADER = """\
# The wheels that the Debian package carries, for every architecture and Python of it. Written by: scripts/deb --lock
# pip refuses whatever has another hash.
"""
Dist = dict[str, str]


def main() -> int:
    """Do what the first argument names."""
    match sys.argv[1:]:
        case ["lock"]:
            lock()
        case ["build", machine, target] if machine in MACHINES:
            build(machine, Path(target))
        case _:
            sys.exit(__doc__)
    return 0


def lock() -> None:
    """Resolve for every architecture and Python, which have to agree on the versions, and write the lock."""
    versions: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    for machine in MACHINES:
        for python in PYTHONS:
            for found in _resolved(machine, python):
                name, version, digest = canonicalize_name(found["name"]), found["version"], found["sha256"]
                if versions.setdefault(name, version) != version:
                    sys.exit(f"{name} is {versions[name]} for one Python or architecture and {version} for {python} on {machine}")
                hashes.setdefault(name, set()).add(digest)
    lines = [
        f"{name}=={versions[name]}" + "".join(f" \\\n    --hash=sha256:{each}" for each in sorted(hashes[name]))
        for name in sorted(versions)
    ]
    LOCK.write_text(_HEADER + "\n".join(lines) + "\n", encoding="utf-8")


def _resolved(machine: str, python: str) -> list[Dist]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        _pip(
            "install", "--dry-run", "--ignore-installed", "--report", str(report), "--target", scratch, *_platform(machine, python), *wanted
        )
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [
        {
            "name": each["metadata"]["name"],
            "version": each["metadata"]["version"],
            "sha256": each["download_info"]["archive_info"]["hash"].removeprefix("sha256="),
        }
        for each in installed
    ]


def build(machine: str, target: Path) -> None:
    """Lay out the environment in ``target``, which must not exist."""
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        own = _own_wheel(scratch / "own")
        houses = {python: _fetched(scratch / python, machine, python) for python in PYTHONS}
        for python, wheels in houses.items():
            _check([own, *wheels], machine, python)
        names = {python: {wheel.name for wheel in wheels} for python, wheels in houses.items()}
        everywhere = set.intersection(*names.values())
        first = PYTHONS[0]
        shared = [own, *(wheel for wheel in houses[first] if wheel.name in everywhere)]
        _unpack(shared, target / "lib" / "python3" / "site-packages", machine, first)
        for python, wheels in houses.items():
            place = target / "lib" / f"python{python}" / "site-packages"
            _unpack([wheel for wheel in wheels if wheel.name not in everywhere], place, machine, python)
            (place / "runloop.pth").write_text("../../python3/site-packages\n", encoding="utf-8")
        _programs(own, target)
        libraries = {wheel.name: _metadata(wheel) for wheels in houses.values() for wheel in wheels}
        lines = {f"{data['Name']} {data['Version']}: {_licence(data)}" for data in libraries.values()}
        (target / "libraries.txt").write_text("".join(f"{line}\n" for line in sorted(lines, key=str.lower)), encoding="utf-8")


def _own_wheel(place: Path) -> Path:
    _pip("wheel", "--no-deps", "--wheel-dir", str(place), str(ROOT))
    (wheel,) = place.glob("*.whl")
    return wheel


def _fetched(place: Path, machine: str, python: str) -> list[Path]:
    # Without dependencies: the lock has them all, and pip would judge markers by the Python that runs it.
    _pip("download", "--no-deps", "--require-hashes", "--dest", str(place), *_platform(machine, python), "-r", str(LOCK))
    return sorted(place.glob("*.whl"))


def _check(wheels: list[Path], machine: str, python: str) -> None:
    """Every requirement of every wheel is met by another one; exits with those that are not."""
    versions = {name: version for name, version, _build, _tags in map(parse_wheel_filename, (wheel.name for wheel in wheels))}
    marker = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": MACHINES[machine],
        "sys_platform": "linux",
    }
    missing = []
    for wheel in wheels:
        for text in _metadata(wheel).get_all("Requires-Dist") or ():
            needed = Requirement(text)
            if needed.marker is not None and not needed.marker.evaluate({**marker, "extra": ""}):
                continue
            found = versions.get(canonicalize_name(needed.name))
            if found is None or not needed.specifier.contains(found, prereleases=True):
                missing.append(f"{wheel.name.split('-')[0]} needs {text}, debian/wheels.txt has {found or 'none'}")
    if missing:
        sys.exit("\n".join([f"for Python {python}:", *missing, "write debian/wheels.txt anew: scripts/deb --lock"]))


def _licence(metadata: Message) -> str:
    named = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if line.startswith("License :: ")]
    return metadata["License-Expression"] or (metadata["License"] or "").strip().partition("\n")[0] or ", ".join(named) or "see its files"


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.count("/") == 1 and each.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def _unpack(wheels: list[Path], place: Path, machine: str, python: str) -> None:
    place.mkdir(parents=True)
    houses = {str(wheel.parent) for wheel in wheels}
    exact = ["==".join(wheel.name.split("-")[:2]) for wheel in wheels]  # by name: from a path, pip would write down where it was
    options = ["--no-deps", "--no-index", "--no-compile", *(f"--find-links={house}" for house in sorted(houses))]
    _pip("install", *options, "--target", str(place), *_platform(machine, python), *exact)
    shutil.rmtree(place / "bin", ignore_errors=True)
    shutil.rmtree(place / "apsw" / "sqlite_extra_binaries", ignore_errors=True)  # a hundred programs and extensions that nothing here uses
    for unwanted in ("REQUESTED", "direct_url.json"):
        for file in place.glob(f"*.dist-info/{unwanted}"):
            file.unlink()


def _programs(own: Path, target: Path) -> None:
    """The interpreter of the environment, and each program of ours: isolated, so that nothing of a person's Python gets in."""
    programs = target / "bin"
    programs.mkdir()
    (target / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n", encoding="utf-8")
    (programs / "python3").symlink_to("/usr/bin/python3")
    scripts = ConfigParser(delimiters=("=",))
    with zipfile.ZipFile(own) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/entry_points.txt"))
        scripts.read_string(archive.read(name).decode())
    for program, entry in scripts["console_scripts"].items():
        module, _, function = entry.partition(":")
        file = programs / program
        file.write_text(
            f"#!/usr/lib/runloop/bin/python3 -I\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n",
            encoding="utf-8",
        )
        file.chmod(0o755)


def _platform(machine: str, python: str) -> list[str]:
    tags = [f"manylinux_2_{minor}_{MACHINES[machine]}" for minor in _GLIBC]
    tags += [f"manylinux{year}_{MACHINES[machine]}" for year in ("2014", "2010", "1")]
    return ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *(f"--platform={tag}" for tag in tags)]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--quiet", "--disable-pip-version-check", "--no-input", *arguments[1:]]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        sys.exit(f"failed: pip {arguments[0]} (see above)")


if __name__ == "__main__":
    sys.exit(main())
