from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb import forgetting
from runloop.kb.derived import contact_key
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.intake import How
from runloop.kb.importers.profiles import Profile, profile_of
from tests.kb.test_erasing import files_with

CARD = """BEGIN:VCARD
VERSION:3.0
FN:Ada Lovelace
EMAIL:ada@example.com
IMPP;X-SERVICE-TYPE=Matrix;TYPE=HOME:matrix:@ada:example.org
X-SOCIALPROFILE;TYPE=mastodon;x-user=ada:https://social.example/@ada
URL;TYPE=WORK:https\\://www.github.com/ada
X-ICQ;ENCODING=B:not base64!
END:VCARD
"""


def accounts(kb):
    with kb.reading() as db:
        return db.execute("SELECT service, handle, url, contact_key FROM accounts ORDER BY service").fetchall()


@pytest.mark.parametrize(
    ("name", "parameters", "value", "expected"),
    [
        ("IMPP", {}, "xmpp:ada@example.com?message", Profile("jabber", "ada@example.com", "xmpp:ada@example.com?message")),
        ("IMPP", {"X-SERVICE-TYPE": ["Skype"]}, "skype:ada%20l", Profile("skype", "ada l", "skype:ada%20l")),
        ("IMPP", {"TYPE": ["home,pref"]}, "ada", Profile("im", "ada")),
        ("IMPP", {}, "xmpp:", None),
        (
            "SOCIALPROFILE",
            {"SERVICE-TYPE": ["Mastodon"], "USERNAME": ["ada"]},
            "https://m.example/@ada",
            Profile("mastodon", "ada", "https://m.example/@ada"),
        ),
        ("X-SOCIALPROFILE", {"TYPE": ["twitter"]}, "ada", Profile("twitter", "ada")),
        ("X-SOCIALPROFILE", {"TYPE": ["mastodon"]}, "@ada@m.example", Profile("mastodon", "@ada@m.example")),
        ("X-SOCIALPROFILE", {}, "https://x.example/ada", Profile("x.example", "ada", "https://x.example/ada")),
        ("URL", {}, "www.example.com", Profile("web", "example.com", "www.example.com")),
        ("URL", {}, "https://github.com/ada/", Profile("github.com", "ada", "https://github.com/ada/")),
        ("URL", {}, "ftp://example.com/ada", None),
        ("URL", {}, "http://[", None),
        ("X-SKYPE", {}, " ada ", Profile("skype", "ada")),
        ("X-SKYPE", {}, "a\x1b[31m", None),
        ("TEL", {}, "+49 30 1234567", None),
    ],
)
def test_the_forms_in_which_cards_name_accounts(name, parameters, value, expected):
    assert profile_of(name, parameters, value) == expected


@given(
    st.sampled_from(["IMPP", "URL", "X-SOCIALPROFILE", "X-ICQ"]),
    st.dictionaries(st.sampled_from(["TYPE", "X-USER"]), st.lists(st.text())),
    st.text(),
)
def test_no_value_makes_the_reader_fail_and_no_account_is_without_a_name(name, parameters, value):
    found = profile_of(name, parameters, value)
    assert found is None or (found.service and found.handle)


def test_the_accounts_of_a_card_belong_to_its_contact_and_are_taken_once(kb, tmp_path):
    (tmp_path / "a.vcf").write_text(CARD)
    report = import_contacts(kb, [tmp_path / "a.vcf"])
    assert (report.taken, report.accounts, report.refusals) == (1, 3, 0)
    key = contact_key("ada@example.com")
    assert accounts(kb) == [
        ("github.com", "ada", "https://www.github.com/ada", key),
        ("mastodon", "ada", "https://social.example/@ada", key),
        ("matrix", "@ada:example.org", "matrix:@ada:example.org", key),
    ]
    head = kb.ledger.head()
    assert import_contacts(kb, [tmp_path / "a.vcf"]).accounts == 0
    assert kb.ledger.head() == head


def test_an_account_that_changes_its_owner_is_taken_again(kb, tmp_path):
    for number, address in enumerate(("ada@example.com", "bob@example.com")):
        (tmp_path / "a.vcf").write_text(CARD.replace("ada@example.com", address))
        assert import_contacts(kb, [tmp_path / "a.vcf"]).accounts == 3, number
    assert {row[3] for row in accounts(kb)} == {contact_key("bob@example.com")}


def test_a_dry_run_takes_no_account(kb, tmp_path):
    (tmp_path / "a.vcf").write_text(CARD)
    assert import_contacts(kb, [tmp_path / "a.vcf"], How(dry_run=True)).accounts == 3
    assert accounts(kb) == []


@pytest.mark.parametrize("take_erased", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_new_account_does_not_bring_back_the_contact_that_was_erased(kb, tmp_path, take_erased, dry_run):
    (tmp_path / "a.vcf").write_text(CARD + CARD.replace("ada", "bob").replace("Ada", "Bob"))
    import_contacts(kb, [tmp_path / "a.vcf"])
    forgetting.carry_out(kb, forgetting.plan(kb, "ada@example.com"))
    (tmp_path / "a.vcf").write_text((tmp_path / "a.vcf").read_text().replace("github.com/", "codeberg.org/"))
    report = import_contacts(kb, [tmp_path / "a.vcf"], How(dry_run=dry_run, take_erased=take_erased))
    assert (report.accounts, report.refusals) == ((4, 0) if take_erased else (1, 1))
    erased = [] if take_erased and not dry_run else files_with(kb.root, "ada@example.com")
    assert erased == []


def test_an_account_that_was_erased_alone_is_refused_by_its_place(kb, tmp_path):
    (tmp_path / "a.vcf").write_text(CARD)
    report = import_contacts(kb, [tmp_path / "a.vcf"])
    kb.erase([report.events[-1][1]])
    (tmp_path / "a.vcf").rename(tmp_path / "b.vcf")
    report = import_contacts(kb, [tmp_path / "b.vcf"])
    assert (report.accounts, [(each.line, each.reason[:10]) for each in report.refused]) == (0, [(1, "was erased")])


def test_the_events_of_accounts_are_among_those_that_were_written(kb, tmp_path):
    (tmp_path / "a.vcf").write_text(CARD)
    written = {number for first, last in import_contacts(kb, [tmp_path / "a.vcf"]).events for number in range(first, last + 1)}
    assert written == {event.id for event in kb.ledger.read() if event.kind in {"contact.upserted", "account.upserted"}}
