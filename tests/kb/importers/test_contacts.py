from __future__ import annotations

import io
import os
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb import forgetting
from runloop.kb.importers import csvfile, textfile, vcard
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.textfile import Unreadable, decode

DATA = Path(__file__).parents[2] / "data" / "contacts"


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def card(*lines, version="4.0"):
    return "\r\n".join(("BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD", ""))


def lines_of(text):
    """The lines as a file gives them."""
    return io.StringIO(text, newline=None)


def only(text):
    [found] = vcard.read_cards(lines_of(text))
    return found


def people(kb):
    with kb.reading() as db:
        return db.execute("SELECT name, email, emails, nicknames, org, source FROM contacts ORDER BY name").fetchall()


def refusals(report):
    return [(Path(each.file).name, each.line, each.reason) for each in report.refused]


def test_a_contact_and_its_account_say_in_which_file_and_line_they_stood_whichever_directory_that_was_named_from(kb, tmp_path, monkeypatch):
    file = write(tmp_path / "c.vcf", card("FN:Ada", "EMAIL:ada@x.example") + card("FN:Bo", "EMAIL:bo@x.example", "IMPP:xmpp:bo@x.example"))
    monkeypatch.chdir(tmp_path)
    import_contacts(kb, ["c.vcf"])
    with kb.reading() as db:
        assert db.execute("SELECT name, path, line FROM contacts ORDER BY name").fetchall() == [("Ada", str(file), 1), ("Bo", str(file), 6)]
        assert db.execute("SELECT handle, path, line FROM accounts").fetchall() == [("bo@x.example", str(file), 6)]
    [hit] = kb.search("Bo", ["contacts"])
    assert (hit.path, hit.line) == (str(file), 6)
    assert forgetting.plan(kb, "bo@x.example").outside == (str(file),)
    assert (import_contacts(kb, [file]).taken, import_contacts(kb, [file]).known) == (0, 2)


def test_a_mixed_vcard_file_gives_its_good_cards_and_the_line_and_reason_of_every_other(kb):
    report = import_contacts(kb, [DATA / "mixed.vcf"])
    assert people(kb) == [
        ("Ada Lovelace", "ada@analytical.example", '["ada@analytical.example", "ada@home.example"]', '["Countess", "Enchantress"]',
         "Analytical Engines, R,D", "mixed.vcf"),
        ("Jörg Müller", "joerg@example.de", '["joerg@example.de"]', "[]", None, "mixed.vcf"),
        ("René Descartes", "rene@example.fr", '["rene@example.fr"]', "[]", None, "mixed.vcf"),
    ]  # fmt: skip
    assert refusals(report) == [
        ("mixed.vcf", 13, "no e-mail address for Grace Brewster Hopper"),
        ("mixed.vcf", 18, "text outside of a card"),
        ("mixed.vcf", 25, "no VERSION; 2.1, 3.0 and 4.0 can be read"),
        ("mixed.vcf", 29, "no END:VCARD before the next card on line 33"),
        ("mixed.vcf", 39, "no colon after EMAIL"),
        ("mixed.vcf", 43, "'not an address' is not an e-mail address"),
        ("mixed.vcf", 48, "ada@analytical.example already belongs to Ada Lovelace (line 1)"),
        ("mixed.vcf", 53, "version 5.0; 2.1, 3.0 and 4.0 can be read"),
        ("mixed.vcf", 58, "no END:VCARD before the end of the file"),
    ]
    assert (report.taken, report.known, report.files) == (3, 0, 1)


def test_a_second_import_takes_nothing_new_and_writes_no_event(kb):
    files = [DATA / "mixed.vcf", DATA / "google.csv", DATA / "outlook.csv"]
    first = import_contacts(kb, files)
    events = kb.ledger.head().id
    second = import_contacts(kb, files)
    assert first.taken > 5
    assert (second.taken, second.known, second.refused) == (0, first.taken + first.known, first.refused)
    assert kb.ledger.head().id == events


def test_a_name_is_no_nickname_of_its_own(kb, tmp_path):
    import_contacts(kb, [write(tmp_path / "a.vcf", card("FN:Ada", "NICKNAME:Ada,Countess", "EMAIL:ada@example.com"))])
    ((_, _, _, nicknames, *_),) = people(kb)
    assert nicknames == '["Countess"]'


def test_a_changed_card_is_taken_again(kb, tmp_path):
    file = write(tmp_path / "a.vcf", card("FN:Ada", "EMAIL:ada@example.com"))
    import_contacts(kb, [file])
    write(file, card("FN:Ada Lovelace", "EMAIL:ada@example.com"))
    assert import_contacts(kb, [file]).taken == 1
    assert [row[0] for row in people(kb)] == ["Ada Lovelace"]


def test_one_unusable_address_of_several_costs_only_itself(kb, tmp_path):
    file = write(tmp_path / "a.vcf", card("FN:Ada", "EMAIL;PREF=1:unknown", "EMAIL:ada@example.com"))
    report = import_contacts(kb, [file])
    assert [row[:3] for row in people(kb)] == [("Ada", "ada@example.com", '["ada@example.com"]')]
    assert refusals(report) == [("a.vcf", 1, "'unknown' is not an e-mail address; the others of Ada are taken")]
    assert import_contacts(kb, [file]).taken == 0


def test_the_import_itself_is_an_event(kb):
    report = import_contacts(kb, [DATA / "google.csv"])
    event = kb.ledger.read(report.events[-1][1])[0]
    assert (event.kind, event.payload["what"], event.payload["taken"]) == ("import.finished", "contacts", report.taken)


def test_a_google_export_is_read(kb):
    report = import_contacts(kb, [DATA / "google.csv"])
    assert [row[:5] for row in people(kb)] == [
        (
            "Ada Lovelace",
            "ada@example.com",
            '["ada@example.com", "ada@home.example", "countess@example.com"]',
            '["Countess"]',
            "Analytical Engines",
        ),
        ("Grace Hopper", "grace@navy.example", '["grace@navy.example"]', "[]", "US Navy"),
    ]
    assert refusals(report) == [("google.csv", 4, "no e-mail address for No Address")]


def test_an_outlook_export_is_read(kb):
    import_contacts(kb, [DATA / "outlook.csv"])
    assert [row[:5] for row in people(kb)] == [
        ("Dr. Emmy Noether", "emmy@example.org", '["emmy@example.org", "noether@example.net"]', "[]", "Universität Göttingen"),
        ("Kurt Gödel", "kurt@example.org", '["kurt@example.org"]', '["Mr. Why"]', None),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,email\nAda,ada@x.example\n", [("Ada", "ada@x.example")]),
        ("\ufeffName;E-Mail\nAda;ada@x.example\n", [("Ada", "ada@x.example")]),
        ("NAME\tEMAIL ADDRESS\nAda\tada@x.example", [("Ada", "ada@x.example")]),
        ('"email","full name"\r\n"ada@x.example","Lovelace, Ada"\r\n', [("Lovelace, Ada", "ada@x.example")]),
        ("Vorname;Nachname;E-Mail\nAda;Lovelace;ada@x.example", [("Ada Lovelace", "ada@x.example")]),
        ('name,email\n"Ada\nLovelace",ada@x.example\nGrace,g@x.example\n', [("Ada Lovelace", "ada@x.example"), ("Grace", "g@x.example")]),
        ("name,email\n\n,ada@x.example\n", [("ada@x.example", "ada@x.example")]),
        ('name,email\n"A ""B"" C",ada@x.example\n', [('A "B" C', "ada@x.example")]),
        ("sep=;\r\nname;email\r\nAda;ada@x.example\r\n", [("Ada", "ada@x.example")]),
        ('"sep=|"\nname|email\nAda, B, C|ada@x.example\n', [("Ada, B, C", "ada@x.example")]),
        ("Vorname;Nachname;E-Mail-Adresse\nAda;Löw;ada@x.example\n", [("Ada Löw", "ada@x.example")]),
        ("Name;Vorname;E-Mail\nLöw;Ada;ada@x.example\nZoe Löw;Zoe;z@x\n", [("Ada Löw", "ada@x.example"), ("Zoe Löw", "z@x")]),
        ("Name,Surname,Email\nAda,Löw,ada@x.example\nVan Dyck,,v@x\n", [("Ada Löw", "ada@x.example"), ("Van Dyck", "v@x")]),
        ("Name,First Name,Display Name,Email\nLöw,Ada,A. Löw,ada@x.example\n", [("A. Löw", "ada@x.example")]),
        ("Nom,Prénom,Adresse e-mail\nLöw,Ada,ada@x.example\n", [("Ada Löw", "ada@x.example")]),
        ("Nombre,Apellidos,Correo electrónico\nAda,Löw Ruiz,ada@x.example\n", [("Ada Löw Ruiz", "ada@x.example")]),
        ("Nome,Cognome,Indirizzo posta elettronica\nAda,Löw,ada@x.example\n", [("Ada Löw", "ada@x.example")]),
        ("Naam,E-mailadres\nAda Löw,ada@x.example\n", [("Ada Löw", "ada@x.example")]),
    ],
)
def test_plain_tables_are_read_whatever_their_delimiter_and_header(kb, tmp_path, text, expected):
    report = import_contacts(kb, [write(tmp_path / "a.csv", text)])
    assert report.refused == []
    assert sorted(row[:2] for row in people(kb)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a,b\n1,2\n", 1, "the first row names no e-mail column; it has: a, b"),
        ("email,phone\na@b,1\n", 1, "the first row names no name column; it has: email, phone"),
        ("name,email\nAda,ada@x,extra\n", 2, "3 fields where the header has 2"),
        ('name,email\nGrace,nope\n"Ada\nL",no one\n', 2, "'nope' is not an e-mail address"),
        ('name,email\n"Ada,ada@x\n', 2, "not CSV: unexpected end of data"),
        ("name,email\nAda,\n", 2, "no e-mail address for Ada"),
        ("sep=,\n\nname,email\nAda,\n", 4, "no e-mail address for Ada"),
        ("\n\nname,email\nAda,\n", 4, "no e-mail address for Ada"),
        ("name,email\nAda,a\x1b[31mda@x\n", 2, "'a\\x1b[31mda@x' is not an e-mail address"),
        ("name,email\nAda,ada\u202e@x\n", 2, "'ada\\u202e@x' is not an e-mail address"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_line(kb, tmp_path, text, line, reason):
    report = import_contacts(kb, [write(tmp_path / "a.csv", text)])
    assert refusals(report)[0] == ("a.csv", line, reason)


def test_the_lines_of_records_that_span_lines_are_those_where_they_start():
    rows = list(csvfile.read_rows(lines_of('name,email\n"A\nB",no\n\nC,no\n')))
    assert [row.line for row in rows] == [2, 5]


def test_how_far_it_is_counts_over_all_files(kb, tmp_path):
    files = [tmp_path / f"{number}.csv" for number in range(3)]
    for number, file in enumerate(files):
        file.write_text(f"Name,E-mail\nAda,ada{number}@home.example\n" * (3 - number))
    report = import_contacts(kb, files)
    assert report.read == report.total == sum(file.stat().st_size for file in files)


def test_one_bad_file_does_not_stop_the_next(kb, tmp_path):
    good = write(tmp_path / "good.csv", "name,email\nAda,ada@x.example\n")
    binary = write(tmp_path / "photo.vcf", "BEGIN:VCARD\n\0\0")
    os.mkfifo(tmp_path / "pipe.csv")
    report = import_contacts(kb, [tmp_path / "missing.csv", binary, tmp_path, tmp_path / "pipe.csv", good])
    assert refusals(report) == [
        ("missing.csv", None, "No such file or directory"),
        ("photo.vcf", 2, "binary, not text: it has NUL characters"),
        (tmp_path.name, None, "not a regular file"),
        ("pipe.csv", None, "not a regular file"),
    ]
    assert report.taken == 1


def test_bytes_that_are_not_utf8_cost_only_their_own_record(kb, tmp_path):
    cards, table = tmp_path / "a.vcf", tmp_path / "a.csv"
    cards.write_bytes(card("FN:Ada", "EMAIL:a@x").encode() + card("FN:Ren\xe9", "EMAIL:r@x").encode("latin-1"))
    table.write_bytes("name,email\nJ\xf6rg,j@x\nGrace,g@x\n".encode("latin-1"))
    report = import_contacts(kb, [cards, table])
    reason = "not UTF-8 text: byte 0x{}; name its encoding with --encoding"
    assert refusals(report) == [("a.vcf", 6, reason.format("e9")), ("a.csv", 2, reason.format("f6"))]
    assert [row[0] for row in people(kb)] == ["Ada", "Grace"]


def test_nul_bytes_behind_the_beginning_cost_only_their_own_record(kb, tmp_path):
    many = [card(f"FN:P{number}", f"EMAIL:p{number}@x") for number in range(100)]
    many[50] = many[50].replace("FN:P50", "FN:P\0\0") + "\0\0\0\n"
    report = import_contacts(kb, [write(tmp_path / "a.vcf", "".join(many))])
    reasons = ["not UTF-8 text: byte 0x00; name its encoding with --encoding", "text outside of a card"]
    assert [each.reason for each in report.refused] == reasons
    assert report.taken == 99


def test_columns_in_another_encoding_are_named_as_their_bytes(kb, tmp_path):
    table = tmp_path / "a.csv"
    table.write_bytes("Name;Stra\xdfe\nAda;x\n".encode("latin-1"))
    assert refusals(import_contacts(kb, [table])) == [("a.csv", 1, "the first row names no e-mail column; it has: Name, Stra\\xdfe")]


def test_a_card_that_names_its_character_set_is_decoded_with_it(kb, tmp_path):
    file = tmp_path / "a.vcf"
    file.write_bytes(card("FN;CHARSET=ISO-8859-1:J\xf6rg", "EMAIL:j@x", version="2.1").encode("latin-1"))
    assert import_contacts(kb, [file]).refused == []
    assert [row[0] for row in people(kb)] == ["J\xf6rg"]


def test_an_empty_file_has_no_contacts_and_is_no_error(kb, tmp_path):
    report = import_contacts(kb, [write(tmp_path / "a.csv", ""), write(tmp_path / "a.vcf", " \r\n\r\n")])
    assert (report.taken, report.refused, report.files) == (0, [], 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_a_byte_order_mark_is_decoded(encoding):
    assert decode("Jörg 😀".encode(encoding)) == "Jörg 😀"


def test_binary_is_not_text():
    with pytest.raises(Unreadable, match="binary") as caught:
        decode(b"ab\ncd\0")
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["FN:Ada", "EMAIL:a@x"], ("Ada", ["a@x"])),
        (["FN:A long\r\n  name", "EMAIL:a@\r\n\tx"], ("A long name", ["a@x"])),
        (["item1.FN:Ada", "item2.EMAIL;type=INTERNET:a@x"], ("Ada", ["a@x"])),
        (["N:Lovelace;Ada;King,Noel;Lady;", "EMAIL:a@x"], ("Lady Ada King Noel Lovelace", ["a@x"])),
        (["FN:", "N:Lovelace;Ada", "EMAIL:a@x"], ("Ada Lovelace", ["a@x"])),
        (["FN:Ada\\, Countess\\; of\\nL\\\\", "EMAIL:a@x"], ("Ada, Countess; of L\\", ["a@x"])),
        (["FN:Ada", "EMAIL:b@x", "EMAIL;TYPE=pref:a@x"], ("Ada", ["a@x", "b@x"])),
        (["FN:Ada", 'EMAIL;TYPE="home,pref":a@x', "EMAIL:b@x"], ("Ada", ["a@x", "b@x"])),
        (["FN:Ada", "EMAIL;PREF=50:b@x", "EMAIL:c@x", "EMAIL;PREF=1:a@x", "EMAIL:c@x"], ("Ada", ["a@x", "b@x", "c@x"])),
        (["FN:Ada", "EMAIL;VALUE=uri:mailto:a@x"], ("Ada", ["a@x"])),
        (["FN;LANGUAGE=en;X-A=\"b:c;d\":Ada", "EMAIL:a@x"], ("Ada", ["a@x"])),
        (["fn:Ada", "email:a@x"], ("Ada", ["a@x"])),
        (["ORG:Engines;;Dept", "EMAIL:a@x"], ("Engines, Dept", ["a@x"])),
        (["NICKNAME:Countess", "EMAIL:a@x"], ("Countess", ["a@x"])),
        (["FN:Ada", "EMAIL:z@x", "EMAIL:a@x", "EMAIL;PREF=50:y@x", "EMAIL;PREF=50:b@x"], ("Ada", ["y@x", "b@x", "z@x", "a@x"])),
        (["FN:Ada", "EMAIL:a@x", "PHOTO;strange line", "X-@@@"], ("Ada", ["a@x"])),
        (["FN:Ada", "EMAIL;X-CUSTOM(CHARSET=UTF-8,ENCODING=QUOTED-PRINTABLE,=57=6F=72=6B):a@x"], ("Ada", ["a@x"])),
    ],
)  # fmt: skip
def test_the_forms_of_a_card(lines, expected):
    found = only(card(*lines))
    assert found.problem is None
    assert (found.name, found.emails) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["N;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:M=C3=BCller;J=C3=B6rg"], "Jörg Müller"),
        (["N;QUOTED-PRINTABLE;CHARSET=ISO-8859-1:M=FCller;Jo=", "hann"], "Johann Müller"),
        (["FN;ENCODING=BASE64:SsO2cmc="], "Jörg"),
        (["FN;ENCODING=b:SsO2cmc="], "Jörg"),
    ],
)
def test_encoded_names_are_decoded(lines, expected):
    assert only(card(*lines, "EMAIL:a@x", version="2.1")).name == expected


@pytest.mark.parametrize(
    "line",
    ["FN;ENCODING=BASE64:%%%", "FN;ENCODING=BASE64:/w==", "FN;ENCODING=QUOTED-PRINTABLE;CHARSET=klingon:a"],
    ids=["digits", "utf8", "charset"],
)
def test_what_cannot_be_decoded_is_a_problem_of_its_line(line):
    found = only(card("NOTE:x", line, "EMAIL:a@x"))
    assert found.problem.startswith("FN in ")
    assert found.problem_line == 4


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["TEL:+44 20 7946 0018"], ["+44 20 7946 0018"]),
        (["TEL;VALUE=uri;TYPE=home:tel:+1-418-656-9254;ext=102"], ["+1-418-656-9254"]),
        (["TEL;TYPE=work:030 123456", "TEL;PREF=1:+49 170 1234567", "TEL:030 123456"], ["+49 170 1234567", "030 123456"]),
        (["TEL;CELL:0170/1234567", "item1.TEL;type=pref:(212) 555-0123"], ["(212) 555-0123", "0170/1234567"]),
        (["TEL;FAX:030 111", "TEL;TYPE=work,fax:030 222", 'TEL;TYPE="PAGER":030 333', "TEL;TYPE=fax;TYPE=voice:030 444"], ["030 444"]),
        (["TEL:", "TEL:none", "TEL;ENCODING=BASE64:%%%", "TEL:" + "1" * 70], []),
    ],
)
def test_the_telephone_numbers_of_a_card_stand_as_they_are_written_the_preferred_first(lines, expected):
    found = only(card("FN:A", "EMAIL:a@x", *lines))
    assert (found.problem, found.phones) == (None, expected)


@pytest.mark.parametrize("form", ["vcf", "csv"])
def test_a_contact_is_found_by_its_number_which_is_masked_for_everybody_who_may_not_see_it(kb, tmp_path, form):
    text = {
        "vcf": card("FN:Ada", "EMAIL:ada@x.example", "TEL:+44 20 7946 0018"),
        "csv": "Name,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value,Home Fax\nAda,ada@x.example,Home,+44 20 7946 0018,030 999999\n",
    }[form]
    file = write(tmp_path / f"a.{form}", text)
    assert import_contacts(kb, [file]).taken == 1
    assert import_contacts(kb, [file]).known == 1
    [hit] = kb.search("7946", ["contacts"])
    assert "7946" not in str(hit)
    assert kb.search("7946", ["contacts"], raw_contacts=True)[0].data["phones"] == ["+44 20 7946 0018"]
    assert "7946" not in str(kb.entity(hit.key))
    assert "7946" not in str(kb.query("SELECT substr(phones, 1, 30) AS x FROM contacts").rows)
    assert "+44 20 7946 0018" in forgetting.plan(kb, "ada@x.example").texts


def test_a_row_that_is_not_csv_costs_only_its_first_line(kb, tmp_path):
    table = 'name,email\nAda,a@x\n"Bo,b@x\nCy,c@x\nD"x"y,"d"@x\nEd,e@x\n' + f"Fa,{'f' * (csvfile.MAX_RECORD + 5)}\nGo,g@x\n"
    report = import_contacts(kb, [write(tmp_path / "a.csv", table)])
    assert [(line, reason.partition(":")[0]) for _, line, reason in report.refused] == [(3, "not CSV"), (5, "not CSV"), (7, "not CSV")]
    assert [row[0] for row in people(kb)] == ["Ada", "Cy", "Ed", "Go"]


def test_a_picture_as_long_as_it_may_be_costs_nothing_and_a_longer_card_costs_only_itself(kb, tmp_path, monkeypatch):
    monkeypatch.setattr(vcard, "MAX_CARD", 10_000)
    monkeypatch.setattr(vcard, "MAX_PROPERTY", 2_000)
    monkeypatch.setattr(textfile, "MAX_LINE", 500)
    photo = "PHOTO;ENCODING=b:" + "x" * 3_000 + "\r\n " + "y" * 3_000
    folded = ("NOTE:" + "z" * 900, *("X-MORE:" + "z" * 900 for _ in range(12)))
    text = card("FN:Ada", photo, "EMAIL:a@x") + card("FN:Bo", *folded, "EMAIL:b@x") + card("FN:Cy", "EMAIL:c@x")
    report = import_contacts(kb, [write(tmp_path / "a.vcf", text)])
    assert [row[0] for row in people(kb)] == ["Ada", "Cy"]
    [(_, line, reason)] = report.refused
    assert line == 8
    assert reason.endswith("; the limit is 10000")


@pytest.mark.parametrize(("encoding", "bad"), [("utf-16-le", b"\x00\xd8"), ("shift_jis", b"\x81\xff"), ("utf-8", b"\xff")])
def test_what_is_no_text_in_whatever_encoding_costs_only_its_own_record(kb, tmp_path, encoding, bad):
    texts = [card("FN:Ada", "EMAIL:a@x"), card("FN:BAD", "EMAIL:b@x"), card("FN:Cy", "EMAIL:c@x")]
    file = tmp_path / "a.vcf"
    mark = "\ufeff".encode(encoding) if encoding.startswith("utf-16") else b""
    file.write_bytes(mark + "".join(texts).encode(encoding).replace("BAD".encode(encoding), bad))
    report = import_contacts(kb, [file], encoding=encoding)
    assert [row[0] for row in people(kb)] == ["Ada", "Cy"]
    assert [(line, reason.partition(":")[0]) for _, line, reason in report.refused] == [(6, "not UTF-8 text")]


@pytest.mark.parametrize("form", ["vcf", "csv"])
def test_a_file_of_any_size_is_read_with_little_memory(tmp_path, form):
    rows = 4_000
    with (tmp_path / f"big.{form}").open("w") as file:
        file.write("" if form == "vcf" else "name,email,notes\n")
        for number in range(rows):
            name, email, more = f"N{number}", f"n{number}@x.example", "x" * 500
            file.write(card(f"FN:{name}", f"EMAIL:{email}", f"NOTE:{more}") if form == "vcf" else f"{name},{email},{more}\n")
    tracemalloc.start()
    try:
        with textfile.opened(tmp_path / f"big.{form}") as file, closing(textfile.text_lines(file)) as lines:
            read = vcard.read_cards if form == "vcf" else csvfile.read_rows
            assert sum(record.problem is None for record in read(lines)) == rows
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_nicknames_and_organisations_are_lists_with_escapes():
    found = only(card("FN:A", "NICKNAME:One\\, Two,Three", "NICKNAME:Three,Four", "ORG:A\\;B;C"))
    assert (found.nicknames, found.org) == (["One, Two", "Three", "Four"], "A;B, C")


@given(st.text(st.sampled_from('BEGIN:VCARD\nEND:VCARD\nVERSION:4.0\r\n FN:;=,"\\@aé\t'), max_size=300))
def test_no_text_makes_the_vcard_reader_fail(text):
    for found in vcard.read_cards(lines_of(text)):
        assert found.line >= 1


@given(
    st.lists(
        st.sampled_from(["BEGIN:VCARD", "END:VCARD", "VERSION:3.0", "FN:A", "EMAIL:a@x", " more", "", "N;;:x", "EMAIL;:", "a.b.c:d"]),
        max_size=15,
    )
)
def test_every_card_that_begins_is_either_read_or_reported(lines):
    cards = list(vcard.read_cards(lines_of("\n".join(lines))))
    begun = [number for number, line in enumerate(vcard.unfold(lines_of("\n".join(lines))), 1) if line.text.strip() == "BEGIN:VCARD"]
    assert len([each for each in cards if each.problem != "text outside of a card"]) == len(begun)


@given(st.text(st.sampled_from('name,email;\t|"\n\r a@x'), max_size=200))
def test_no_text_makes_the_csv_reader_fail(text):
    assert all(row.line >= 2 for row in csvfile.read_rows(lines_of("name,email\n" + text)))
