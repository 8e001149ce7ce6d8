"""What is written beside its place, in a directory where others write too, leads nowhere else."""

import os
import stat

import pytest

from runloop.bundles.writing import replace_file
from runloop.cli.opening_files import _replace
from runloop.cli.whole import write_whole
from runloop.staged import staged


@pytest.fixture
def trap(tmp_path):
    """Links of somebody who guesses the names of files that are written for a moment."""

    def set_up(directory, *names):
        victim = tmp_path / "victim"
        victim.write_text("mine")
        victim.chmod(0o600)
        for name in names:
            (directory / name.format(pid=os.getpid())).symlink_to(victim)
        return victim

    return set_up


def test_no_link_that_somebody_laid_is_written_through(tmp_path, trap):
    shared = tmp_path / "shared"
    bundle = shared / "reader"
    bundle.mkdir(parents=True)
    (bundle / "manifest.toml").write_text("")
    (bundle / "manifest.toml").chmod(0o666)
    (shared / "o.yaml").write_text("old")
    (shared / "o.yaml").chmod(0o666)
    victim = trap(shared, ".o.yaml.{pid}", ".o.yaml.runloop.{pid}", ".reader.manifest.toml.{pid}")

    _replace(shared / "o.yaml", "new")
    write_whole(shared / "o.yaml", "newer")
    replace_file(bundle, "manifest.toml", "built")

    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("mine", 0o600)
    assert ((shared / "o.yaml").read_text(), (bundle / "manifest.toml").read_text()) == ("newer", "built")


def test_nothing_is_left_of_what_does_not_get_its_name(tmp_path):
    with pytest.raises(KeyError), staged(tmp_path, b"x"):
        raise KeyError
    with staged(tmp_path, b"whole") as path:
        path.replace(tmp_path / "a name as long as names can be".ljust(255, "x"))

    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"whole"]
