"""Which imports end an agent before it begins, and which files of it no import reaches."""

import pytest

from runloop.bundles.modules import ABSENT, INSTEAD, Import, hidden, missing, natives
from runloop.sandbox.guest.runloop_guest import frozen


def test_what_a_module_cannot_do_in_a_guest_is_said_before_a_run_as_in_one():
    of_the_guest = {name: said for name, said in frozen.ABSENT.items() if not name.startswith("_") and not name.startswith("concurrent.")}

    assert of_the_guest == INSTEAD
    assert {"socket", "sqlite3"} <= ABSENT


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import json, re\nfrom datetime import date\nimport zoneinfo\nimport xml.etree.ElementTree as ET", []),
        ("import asyncio", []),
        ("import subprocess", ["subprocess"]),
        ("from os import path\nfrom socket import socket", ["socket"]),
        ("import urllib.request\nimport urllib.parse\nfrom http import client, cookies", ["urllib.request", "http.client"]),
        ("import unittest\nimport unittest.case\nfrom unittest import mock", []),
        ("from unittest.mock import Mock", []),
        ("from urllib.request import urlopen\nfrom http.clients import x\nimport http.server", ["urllib.request"]),
        ("import yaml\nimport yaml.nodes", ["yaml"]),
        ("import helper\nfrom helper import x\nfrom pkg.sub import y\nimport space.deep", []),
        ("from . import helper\nfrom .helper import x", []),
        ("import annotationlib\nimport _thread\nimport _sqlite3", []),
        ("from runloop_agent import agent\nimport runloop_agent.kb", []),
        ("try:\n    import yaml\nexcept ImportError:\n    yaml = None", []),
        ("try:\n    import yaml\nexcept (ValueError, ModuleNotFoundError):\n    yaml = None", []),
        ("try:\n    import yaml\nexcept:\n    yaml = None", []),
        ("try:\n    import yaml\nexcept ValueError:\n    yaml = None", ["yaml"]),
        ("try:\n    pass\nfinally:\n    import yaml", ["yaml"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import yaml", []),
        ("import sys\nif sys.platform == 'win32':\n    import winreg\nelse:\n    import pwd", ["winreg", "pwd"]),
        ("import sys\nif sys.version_info < (3, 11):\n    import tomli\nelse:\n    import tomllib, pwd", ["pwd"]),
        ("import sys\nif sys.version_info >= (3, 11):\n    import pwd\nelse:\n    import tomli", ["pwd"]),
        ("import sys\nif sys.version_info[0] == 2:\n    import Queue", ["Queue"]),
        ("import sys\nif sys.version_info == (3, 11):\n    import yaml", ["yaml"]),
        ("import sys\nif sys.version_info < (3, 'x'):\n    import yaml", ["yaml"]),
        ("class A:\n    import yaml", ["yaml"]),
        ("import contextlib\nwith contextlib.suppress(ImportError):\n    import yaml", []),
        ("def run():\n    import yaml", []),
        ("not python", []),
    ],
)  # fmt: skip
def test_modules_that_neither_the_guest_nor_the_bundle_has_are_named(source, names):
    empty = dict.fromkeys(["helper.py", "pkg/__init__.py", "pkg/sub.py", "space/deep.py", "http/server.py"], b"")
    files = {"agent.py": source.encode(), **empty}

    assert [each.name for each in missing(files, "agent.py")] == names


def test_what_an_imported_file_imports_counts_and_each_module_is_told_where_it_stands_first():
    files = {
        "agent.py": b"import helper\nfrom pkg import part\n",
        "helper.py": b"import helper, agent\n\nimport yaml\n",
        "pkg/__init__.py": b"from . import other\n",
        "pkg/part.py": b"from .other import x\nfrom ..pkg.deep import y\nimport yaml\n",
        "pkg/other.py": b"import ssl\n",
        "pkg/deep.py": b"import attrs\n",
        "pkg/unused.py": b"import requests\n",
        "tests/test_it.py": b"import pytest\n",
        "notes.txt": b"import numpy\n",
    }

    found = missing(files, "agent.py")

    assert {each.name: each.path for each in found} == {"attrs": "pkg/deep.py", "ssl": "pkg/other.py", "yaml": "helper.py"}
    assert Import("yaml", "helper.py", 3) in found
    assert missing(files, "nowhere.py") == []


def test_a_module_that_is_only_there_as_native_code_is_named_unless_its_failure_is_caught():
    files = {
        "agent.py": b"import core\nimport fast\nimport own\nimport top\n",
        "core/__init__.py": b"from ._core import x\n",
        "core/_core.cpython-311-x86_64-linux-gnu.so": b"",
        "fast/__init__.py": b"try:\n    from ._speedups import x\nexcept ImportError:\n    pass\n",
        "fast/_speedups.abi3.so": b"",
        "own/__init__.py": b"from . import both\n",
        "own/both.py": b"",
        "own/both.so": b"",
        "top.pyd": b"",
    }

    assert missing(files, "agent.py") == [Import("top", "agent.py", 4), Import("core._core", "core/__init__.py", 1)]
    assert natives(files) == {"core._core", "fast._speedups", "top"}


def test_what_a_stand_in_imports_counts():
    files = {"agent.py": b"import urllib.request\n", "urllib/request.py": b"import yaml\n"}

    assert missing(files, "agent.py") == [Import("yaml", "urllib/request.py", 1)]


def test_a_file_with_the_name_of_a_module_of_the_guest_is_never_imported():
    files = ["agent.py", "json.py", "email/__init__.py", "runloop_agent.py", "socket.py", "words.py", "tests/string.py", "re/notes.txt"]
    files += ["urllib/request.py", "email/more/__init__.py"]

    assert hidden(files, "agent.py") == ["email/__init__.py", "json.py", "runloop_agent.py"]
    assert hidden(["string.py"], "string.py") == []
