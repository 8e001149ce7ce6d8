"""The outer form of an archive: what is packed comes back, and nothing else is taken for an archive."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.errors import InvalidInput, RunloopError
from runloop.runs.archives import container
from runloop.runs.archives.container import ArchiveAltered, ArchiveInvalid, pack, unpack

NAMES = st.sampled_from(["manifest.json", "signature.json", "runs/0a-1b.jsonl"]) | st.from_regex(r"objects/[0-9a-f]{1,64}", fullmatch=True)
MEMBERS = st.dictionaries(NAMES, st.binary(max_size=1500), max_size=5)


@given(MEMBERS)
def test_what_is_packed_comes_back_in_order(members):
    assert list(unpack(pack(members.items())).items()) == list(members.items())


@given(MEMBERS)
def test_any_tar_reads_it(members):
    with tarfile.open(fileobj=io.BytesIO(pack(members.items()))) as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == members


@given(st.binary(max_size=3000) | MEMBERS.map(lambda members: pack(members.items())), st.data())
def test_bytes_are_an_archive_or_an_error_of_ours(data, draws):
    spoiled = bytearray(data)
    for _ in range(draws.draw(st.integers(0, 3))):
        if spoiled:
            spoiled[draws.draw(st.integers(0, len(spoiled) - 1))] = draws.draw(st.integers(0, 255))
    try:
        members = unpack(bytes(spoiled))
    except (ArchiveInvalid, ArchiveAltered):
        return
    assert pack(members.items()) == bytes(spoiled)


def foreign(name="objects/aa", content=b"x", **fields):
    """A tar as another program would write it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "archive.cut_off"),
        (b"manifest.json", "archive.cut_off"),
        (b"a note that somebody took for a run", "archive.member"),
        (b"PK\x03\x04" + bytes(600), "archive.member"),
        (foreign("../../etc/passwd"), "archive.member"),
        (foreign("/etc/passwd"), "archive.member"),
        (foreign("objects/../aa"), "archive.member"),
        (foreign("objects/aa\n"), "archive.member"),
        (foreign(type=tarfile.SYMTYPE, linkname="/etc/passwd", content=b""), "archive.header"),
        (foreign(type=tarfile.LNKTYPE, linkname="objects/bb", content=b""), "archive.header"),
        (foreign(type=tarfile.DIRTYPE, content=b""), "archive.member"),
        (foreign(type=tarfile.FIFOTYPE, content=b""), "archive.header"),
        (foreign(mode=0o4755), "archive.header"),
        (foreign(uid=1), "archive.header"),
        (foreign(mtime=1), "archive.header"),
        (pack([("objects/aa", b"x")])[:700], "archive.cut_off"),
        (pack([("objects/aa", b"x")])[:-512], "archive.cut_off"),
        (pack([("objects/aa", b"x")]) + bytes(512), "archive.trailing"),
        (pack([("objects/aa", b"x")])[:-1024] + pack([("objects/aa", b"y")]), "archive.duplicate"),
        (pack([("objects/aa", b"x")]).replace(b"x" + bytes(511), b"x" + bytes(510) + b"y"), "archive.header"),
    ],
)
def test_what_export_would_not_write_is_refused_by_name(data, code):
    with pytest.raises((ArchiveInvalid, ArchiveAltered)) as caught:
        unpack(data, file="run.rlz")
    assert caught.value.exit_code == (2 if code == "archive.member" else 5)
    assert (caught.value.code, caught.value.where.file, bool(caught.value.hint)) == (code, "run.rlz", True)


def test_a_size_that_the_archive_does_not_have_is_noticed_before_anything_is_made():
    lying = bytearray(pack([("objects/aa", b"")]))
    lying[:512] = container._header(b"objects/aa", 2**33 - 1)
    with pytest.raises(InvalidInput) as caught:
        unpack(bytes(lying))
    assert caught.value.code == "archive.too_large"


@pytest.mark.parametrize(("limit", "value"), [("MAX_BYTES", 3072), ("MAX_MEMBERS", 2), ("MAX_MEMBER_BYTES", 4)])
def test_the_limits_hold_on_both_ways(monkeypatch, limit, value):
    members = [("objects/aa", b"four"), ("objects/bb", b"four")]
    monkeypatch.setattr(container, limit, value)
    data = pack(members)
    assert unpack(data) == dict(members)
    monkeypatch.setattr(container, limit, value - 1)
    for attempt in (lambda: pack(members), lambda: unpack(data)):
        with pytest.raises(RunloopError) as caught:
            attempt()
        assert caught.value.code == "archive.too_large"


def test_what_somebody_else_wrote_is_quoted_up_to_500_characters():
    assert [container.brief("x" * size) for size in (500, 501)] == ["x" * 500, f"{'x' * 500}…"]


def test_the_first_member_is_read_without_the_rest():
    data = pack([("manifest.json", b"first"), ("objects/aa", b"x")])
    assert container.first_member(io.BytesIO(data[:520]), name="f") == b"first"
    with pytest.raises(ArchiveAltered) as caught:
        container.first_member(io.BytesIO(data[:514]), name="f")
    assert caught.value.code == "archive.cut_off"
