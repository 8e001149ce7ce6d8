import json
import sys
from pathlib import Path

import runloop
from runloop.cli.main import main


def test_the_version_block_says_what_runs_and_where_it_lies(capsys):
    assert main(["version"]) == 0
    python = ".".join(str(part) for part in sys.version_info[:3])
    package = Path(runloop.__file__).resolve().parent
    assert capsys.readouterr().out == f"rlp {runloop.__version__}\npython: {python} ({sys.executable})\ninstalled: {package}\n"


def test_the_version_is_data_when_asked(capsys):
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == runloop.__version__


def test_version_takes_no_words(capsys):
    assert main(["version", "x"]) == 2
    assert capsys.readouterr().err.startswith("error[cli.usage]")
