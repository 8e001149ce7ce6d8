"""What a program says of an opening, as fields of the request; what cannot be read is said before anything is sent."""

import pytest

from runloop.client.submission import submission
from runloop.errors import InvalidInput


def fields(opening=None, source=None, file=None, digests=None, workdir=None):
    return submission(opening, source, file, digests, workdir)


def test_a_name_is_sent_as_it_is_and_a_file_as_its_text(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("version: 0\n")
    assert fields("daily") == {"opening": "daily"}
    for file in (path, str(path)):
        assert fields(file) == {"opening_source": "version: 0\n", "opening_file": str(path)}
    assert fields(source="x", file="y") == {"opening_source": "x", "opening_file": "y"}
    assert fields(source="x") == {"opening_source": "x"}


def test_agents_and_the_working_directory_are_named_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = fields("daily", digests={"a": "1", "b@fast": "2"}, workdir="here")
    agents = [{"name": "a", "digest": "1"}, {"name": "b", "variant": "fast", "digest": "2"}]
    assert told == {"opening": "daily", "workdir": str(tmp_path / "here"), "agent_digests": agents}


@pytest.mark.parametrize(("content", "why"), [(None, "No such file or directory"), (b"\xff", "it is not UTF-8")])
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, content, why):
    path = tmp_path / "a.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        fields(str(path))
    assert (caught.value.message, caught.value.where.file) == (f"the opening {path} cannot be read: {why}", str(path))
