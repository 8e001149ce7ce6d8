from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runloop.kb import KnowledgeBase
from runloop.kb.errors import LedgerClosed
from runloop.kb.redaction import EVERYTHING, NOTHING, Redactor, Rules, keys, mask_email
from runloop.kb.redaction.payment import is_card, is_iban

DATA = Path(__file__).parents[2] / "data" / "redaction"
STAYS = DATA.joinpath("stays.txt").read_text("utf-8").splitlines()
GOES = [line.split("\t") for line in DATA.joinpath("goes.tsv").read_text("utf-8").splitlines()]
KINDS = ("email", "phone", "card", "iban", "keys", "url_params")

SURROUNDINGS = st.tuples(
    st.sampled_from(["", "see ", "(", "<", '"', "a,", "x=", "\n", "–", "| ", "to:", "„", "\u00a0", "É ", "[", "{'"]),
    st.sampled_from(["", " now", ")", ">", '"', ",b", ".", "\n", "–", " |", ";", "“", "\u00a0x", "!", "]", "'}"]),
)


def masked(text, salt="test"):
    return Redactor(salt).text(text)


@pytest.mark.parametrize("text", STAYS)
def test_ordinary_numbers_times_hashes_versions_and_code_stay(text):
    assert masked(text) == text
    assert masked(f"Note: {text}") == f"Note: {text}"


@pytest.mark.parametrize(("kind", "secret", "text"), GOES)
def test_what_is_to_be_masked_goes_and_shows_its_kind(kind, secret, text):
    text = text.replace("\\n", "\n")
    shown = masked(text)
    assert secret not in shown
    assert kind == "email" or f"[{kind}:" in shown
    assert Redactor("test").text(shown) == shown or kind == "email"


@pytest.mark.parametrize(("kind", "secret", "text"), GOES)
def test_what_is_masked_in_a_text_is_masked_in_json_that_holds_it(kind, secret, text):
    text = text.replace("\\n", "\n")
    redactor = Redactor("test")
    assert secret not in redactor.json(json.dumps({"a": [text], text: 1}))
    assert secret not in json.dumps(redactor.value({"a": [text], text: 1}), ensure_ascii=False)


def test_the_masks_of_addresses_are_those_of_the_published_vectors():
    assert mask_email("john@acme.com", "") == "jma3uvu@acme.com"
    assert Redactor("").text("alice@example.com") == "aogzhr4@example.com"
    assert Redactor("pepper").text("to john@acme.com, alice@example.com") == "to jexsaqy@acme.com, aal2vcc@example.com"


def test_a_mask_keeps_what_people_tell_values_apart_by():
    assert masked("4111 1111 1111 1111").endswith(":1111]")
    assert masked("DE89 3704 0044 0532 0130 00").endswith(":3000]")
    assert masked("+49 170 1234567").endswith(":67]")
    assert masked("https://x.example/?token=abc&page=2").endswith("&page=2")


def test_the_same_value_has_the_same_mask_however_it_is_written():
    assert masked("4111111111111111") == masked("4111 1111 1111 1111")
    assert masked("DE89370400440532013000") == masked("de89 3704 0044 0532 0130 00")
    assert masked("+491701234567") == masked("+49 (0)170 123-4567")


def test_another_salt_gives_another_mask():
    for _, secret, text in GOES:
        if f"{secret}" in text:
            assert masked(text, "one") != masked(text, "two")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_switch(kind):
    sample = {
        "email": "john@acme.com",
        "phone": "+49 170 1234567",
        "card": "4111111111111111",
        "iban": "DE89370400440532013000",
        "keys": "password=hunter2",
        "url_params": "https://x.example/?token=abc",
    }[kind]
    assert masked(sample) != sample
    assert Redactor("test", Rules(**{kind: False})).text(sample) == sample
    assert Redactor("test", NOTHING).text(sample) == sample


def test_parameters_are_those_that_the_denylist_names():
    redactor = Redactor("test", Rules(url_param_denylist=("sid",)))
    assert redactor.text("https://x.example/?token=abc") == "https://x.example/?token=abc"
    assert "abc" not in redactor.text("https://x.example/?php_sid=abc")


def test_names_tell_what_a_value_is():
    value = {"phone": "01701234567", "password": "hunter2", "api_key": "ab12CD34ef56", "fax": [5551234567], "card": 4111111111111111}
    shown = json.dumps(Redactor("test").value(value))
    for secret in ("1701234567", "hunter2", "ab12CD34ef56", "5551234567", "4111111111111111"):
        assert secret not in shown
    for number in (12345, 301234567, 1000000001):
        assert Redactor("test").value({"phone": number}) == Redactor("test").value({"phone": str(number)})
    harmless = {"ts_ms": 1732093442123, "n": 41, "flag": True, "none": None, "ratio": 0.5, "tokens": 12345678901, "phone": None}
    assert Redactor("test").value(harmless) == harmless


def test_who_may_see_contacts_sees_addresses_and_numbers_and_no_keys():
    redactor = Redactor("test").with_contacts()
    assert redactor.text("john@acme.com +49 170 1234567") == "john@acme.com +49 170 1234567"
    assert "hunter2" not in redactor.text("password=hunter2")


def test_json_that_holds_nothing_to_mask_stays_byte_for_byte():
    text = '{"b": 1,  "a": [1.50, "x"]}'
    assert Redactor("test").json(text) == text


def test_a_broken_json_text_is_masked_as_a_text():
    assert "john@" not in Redactor("test").json('{"to": "john@acme.com"')
    assert "john@" not in Redactor("test").json("[" * 5000 + '"john@acme.com"')
    assert "john@" not in Redactor("test").json("[" * 600 + '"john@acme.com"' + "]" * 600)
    assert "john@" not in Redactor("test").json('["john@acme.com \ud800"]')


def test_an_encoded_encoded_address_is_found():
    inner = base64.b64encode(b'{"to":"john\\u0040acme.com"}')
    assert masked(base64.b64encode(inner).decode()).startswith("[encoded:")


def test_a_long_text_takes_time_in_proportion_to_its_length():
    for piece in ("a", "a@", "0", "01 ", "+1", "a_", "eyJ", "://", "?a=", "password", "tel ", "DE89", "AAAA", '"', "key=", "'a"):
        masked(piece * (20_000 // len(piece)))


_GIVEN_NAMES = ("api_key", "password", "token", "secret", "session_id", "pwd", "key", "jwt", "a", "x.y", "", "_", " ", '"', "--", "\n")
_GIVEN_SIGNS = ("=", ":", ": ", ":=", " ", '="', "='", "%", "$", ".", "eyJ", "aB3")


@given(st.lists(st.tuples(st.sampled_from(_GIVEN_NAMES), st.sampled_from(_GIVEN_SIGNS)), min_size=1, max_size=6), st.integers(1, 400))
@example([("password", ":")], 2_000)
@example([("api_key", "=")], 2_000)
@example([("token", '="'), ("token", "='")], 2_000)
def test_however_names_are_given_names_no_sign_is_looked_at_more_than_so_often(pieces, times):
    """Counted, not measured: the signs of all values that are judged, for each sign of the text."""
    looked_at = 0
    is_secret = keys._is_secret

    def counting(found, group, name_at, *, password):
        nonlocal looked_at
        looked_at += len(found[group])
        return is_secret(found, group, name_at, password=password)

    text = "".join(name + sign for name, sign in pieces) * times
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keys, "_is_secret", counting)
        keys.mask_keys(text, "salt")
    assert looked_at <= (keys._NESTED + 2) * len(text)


def test_many_names_in_a_quoted_text_are_no_secrets():
    said = "the token: one, the secret: two, " * 20
    for text in (f'see {{"a": "{said}"}}', f'the prompt_key: "{said}"'):
        assert masked(text) == text


def test_a_secret_behind_more_names_than_anybody_writes_goes_with_them():
    assert "hunter2" not in masked("token=" * 40 + "hunter2")


@pytest.mark.parametrize("first", ["eyJ-", "eyJabcdefgh_", "-eyJ"])
def test_a_web_token_behind_what_only_begins_as_one_is_found(first):
    assert "c2lnbmF0dXJl" not in masked(f"{first * 3} eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl")
    assert "c2lnbmF0dXJl" not in masked(f"{first * 3}-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl")
    assert "c2lnbmF0dXJl" not in masked(f"eyJ{'a' * 9_000}.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl")


@pytest.mark.parametrize("piece", ["eyJx-", "ghp_eyJ", "eyJa_key_"])
def test_what_only_begins_as_a_key_again_and_again_takes_no_longer(piece):
    text = piece * (1_000_000 // len(piece))
    assert masked(text) == text


def test_of_a_long_value_the_beginning_tells_and_all_is_masked():
    strong = "aB3-x9Zq7LmN2" * 100
    assert masked(f"api_key={strong}").startswith("api_key=[key:")
    assert strong[-40:] not in masked(f"api_key={strong}")
    assert "eyJhbGciOiJIUzI1NiJ9" not in masked(f"see eyJhbGciOiJIUzI1NiJ9.{'eyJzdWIiOiIxMjM0NTY3ODkwIn0' * 500}.dozjgNryP4J3jVmNHl0w")


LOCALS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCZ0123456789._+-éüß用"), min_size=2, max_size=30).filter(
    lambda text: text[0] not in ".-" and text[-1] != "."
)
DOMAINS = st.builds(
    "{}.{}".format,
    st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789"), min_size=1, max_size=12),
    st.sampled_from(["com", "org", "example", "co.uk", "museum", "рф"]),
)


@given(LOCALS, DOMAINS, SURROUNDINGS)
def test_no_address_survives_in_any_text_around_it(local, domain, around):
    text = f"{around[0]}{local}@{domain}{around[1]}"
    redactor = Redactor("test")
    shown = redactor.text(text)
    assert f"{local}@{domain}" not in shown
    assert shown.startswith(around[0] + local[0])
    assert domain in shown
    assert redactor.text(shown) == shown


def luhn(body):
    return next(body + digit for digit in "0123456789" if _checks(body + digit))


def _checks(digits):
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


CARDS = st.sampled_from([("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16),
                         ("3528", 16), ("36", 14), ("305", 14), ("62", 17), ("6759", 19)]).flatmap(
    lambda issuer: st.text(
        st.sampled_from("0123456789"), min_size=issuer[1] - len(issuer[0]) - 1, max_size=issuer[1] - len(issuer[0]) - 1
    ).map(lambda middle: luhn(issuer[0] + middle))
)  # fmt: skip


def grouped(digits, sep):
    sizes = (4, 6, 5) if len(digits) == 15 else (4, 6, 4) if len(digits) == 14 else (4, 4, 4, 4, 3)
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at : at + size])
        at += size
    return sep.join(part for part in parts if part)


@given(CARDS, st.sampled_from(["", " ", "-", "\u00a0"]), SURROUNDINGS)
def test_no_card_number_survives_in_any_text_around_it(digits, sep, around):
    assert is_card(digits)
    written = grouped(digits, sep)
    shown = masked(f"{around[0]}{written}{around[1]}")
    assert written not in shown
    assert f"[card:{masked(digits)[6:]}" in shown


def iban(country, bban):
    number = int("".join(str(int(sign, 36)) for sign in f"{bban}{country}00"))
    return f"{country}{98 - number % 97:02d}{bban}"


IBANS = st.sampled_from([("DE", 18), ("GB", 18), ("FR", 23), ("NO", 11), ("NL", 14), ("MT", 27)]).flatmap(
    lambda form: st.text(st.sampled_from("0123456789ABCXYZ"), min_size=form[1], max_size=form[1]).map(lambda bban: iban(form[0], bban))
)


@given(IBANS, st.booleans(), SURROUNDINGS)
def test_no_iban_survives_in_any_text_around_it(number, spaced, around):
    assert is_iban(number)
    written = " ".join(number[at : at + 4] for at in range(0, len(number), 4)) if spaced else number
    shown = masked(f"{around[0]}{written}{around[1]}")
    assert written not in shown
    assert "[iban:" in shown


WRITTEN = st.sampled_from(
    [
        "+{a}{s}{b}{s}{c}",
        "00{a}{s}{b}{s}{c}",
        "(212) 555-{d}",
        "212{t}555{t}{d}",
        "1 212 555 {d}",
        "1 212 555-{d}",
        "1-212-555 {d}",
        "(212) 555 {d}",
        "212 555-{d}",
        "212.555-{d}",
        "+{a} (0){b}-{c}",
        "00{a} (0){b}-{c}",
        "00{a}(0){b} {c}",
        "0{b}{s}{c}",
        "(0{b}){s}{c}",
        "Tel. {b}{c}",
    ]
)


@given(
    WRITTEN,
    st.sampled_from(" .-/\u00a0\u2011"),
    st.sampled_from(" .-\u2011\u2013"),
    st.integers(170, 179),
    st.integers(200_0000, 999_9999),
    SURROUNDINGS,
)
def test_no_telephone_number_survives_in_any_text_around_it(form, sep, american, area, subscriber, around):
    number = form.format(a="49", b=area, c=subscriber, d=str(subscriber)[:4], s=sep, t=american)
    shown = masked(f"{around[0]}{number}{around[1]}")
    assert number not in shown
    assert "[phone:" in shown


@given(st.lists(st.text(max_size=30) | st.sampled_from([line for line in STAYS if len(line) < 128]), min_size=1, max_size=5))
def test_a_text_is_masked_the_same_however_often_it_is_met_and_wherever_it_stands(texts):
    redactor = Redactor("test", Rules(email=False))  # of an address it is remembered what its mask is
    expected = [Redactor("test", Rules(email=False)).text(text) for text in texts]
    assert [redactor.text(text) for text in texts] == expected
    assert redactor.value(texts) == expected
    assert redactor.value([{text: text} for text in texts]) == [
        {each: Redactor("test", Rules(email=False)).text(text, text)} for text, each in zip(texts, expected, strict=True)
    ]


KEY_LETTERS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), min_size=36, max_size=48)


BEGINNINGS = (
    *("sk-", "ghp_", "github_pat_", "glpat-", "hf_", "gsk_", "npm_", "xoxb-", "xapp-", "sk_live_", "rk_test_", "whsec_", "ya29.", "1//0"),
    *("GOCSPX-", "xai-", "pplx-", "tvly-", "nvapi-", "r8_", "glsa_", "lin_api_", "tskey-"),
)


@given(st.sampled_from(BEGINNINGS), KEY_LETTERS, SURROUNDINGS)
def test_no_issued_key_survives_in_any_text_around_it(beginning, rest, around):
    shown = masked(f"{around[0]}{beginning}{rest}{around[1]}")
    assert rest not in shown
    assert "[key:" in shown


@given(st.integers(0, 10**19), SURROUNDINGS)
def test_a_number_is_masked_only_where_it_is_a_card_number(number, around):
    text = f"{around[0]}{number}{around[1]}"
    assert (masked(text) == text) == (not is_card(str(number)))


@given(st.binary(min_size=16, max_size=32), SURROUNDINGS)
def test_a_hash_is_never_masked(data, around):
    text = f"{around[0]}{data.hex()}{around[1]}"
    if not any(character.isdigit() for character in data.decode("latin-1")):
        assert masked(text) == text


@given(
    st.datetimes(),
    st.sampled_from(["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M", "%Y/%m/%d", "%d/%m/%Y %H:%M", "%Y%m%dT%H%M%S", "%d %m %Y", "%d-%m-%Y"]),
)
def test_a_time_is_never_masked(moment, form):
    assert masked(moment.strftime(form)) == moment.strftime(form)


@given(st.text(max_size=200))
def test_masking_never_fails_and_what_is_masked_stays(text):
    redactor = Redactor("test", EVERYTHING)
    shown = redactor.text(text)
    assert redactor.text(shown) == shown


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))  # fmt: skip
def test_a_masked_value_has_the_same_shape(value):
    def shape(each):
        if isinstance(each, dict):
            return {"dict": [shape(item) for item in each.values()]}
        return [shape(item) for item in each] if isinstance(each, list) else ""

    assert shape(Redactor("test").value(value)) == shape(value)


def test_a_base_that_was_closed_still_knows_the_masks_of_its_contacts(tmp_path, contact):
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("John", "john@acme.com")])
        kb.sync()
        salt, redactor, agents = kb.redactor.salt, kb.redactor, kb.agents_redactor(raw_contacts=False)
    mask = mask_email("john@acme.com", salt)
    assert (redactor.text(f"to {mask}"), agents.text(f"to {mask}")) == (f"to {mask}", f"to {mask}")
    (tmp_path / "pog.sqlite").unlink()
    other = "jaaaaaa@acme.com"
    assert redactor.text(f"to {other}") == f"to {mask_email(other, salt)}"


def test_reading_a_closed_base_says_that_it_was_closed(tmp_path):
    kb = KnowledgeBase.open(tmp_path)
    kb.close()
    with pytest.raises(LedgerClosed) as caught:
        kb.search("x")
    assert caught.value.code == "ledger.closed"


def test_a_long_text_that_comes_twice_is_masked_by_the_name_that_it_has_each_time():
    redactor, long = Redactor("test"), "Xy7" * 60
    assert redactor.text(long) == redactor.text(long) == long
    assert redactor.text(long, "password") == redactor.text(long, "password") == Redactor("test").text(long, "password") != long
    assert redactor.text(long + "!") == long + "!"
