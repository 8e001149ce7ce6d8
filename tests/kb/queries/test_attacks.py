"""Ways to get at what is masked, or to have a guess confirmed. Each is refused or sees masks."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import apsw
import pytest

from runloop.kb.errors import QueryLimit, QueryRefused
from runloop.kb.queries.statement import answer
from runloop.kb.queries.tables import HIDDEN, is_plain, tables_of
from runloop.kb.redaction import Rules
from tests.kb.queries.conftest import ADDRESS, CARD, PHONE, SECRETS, tables

# {t} is each table, {c} each of its masked columns
SHOWING = {
    "plain": "SELECT * FROM {t}",
    "alias": 'SELECT "{c}" AS nothing_to_see FROM {t} AS other',
    "functions": 'SELECT lower("{c}"), upper("{c}"), trim("{c}"), quote("{c}"), replace("{c}", \' \', \'_\') FROM {t}',
    "hex": 'SELECT hex("{c}"), unhex(hex("{c}")) FROM {t}',
    "pieces": 'SELECT substr("{c}", 1, 9), substr("{c}", 2), substr("{c}", -20), substr("{c}", 5, 11) FROM {t}',
    "code points": 'WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) SELECT char(unicode(substr("{c}", i))) FROM {t}, n',
    "format": 'SELECT printf(\'%s %q %.400s\', "{c}", "{c}", "{c}") FROM {t}',
    "aggregate": 'SELECT group_concat("{c}"), max("{c}"), min("{c}"), string_agg("{c}", \'|\') FROM {t}',
    "json out": 'SELECT json_array("{c}"), json_object(\'a\', "{c}"), json_group_array("{c}"), json_quote("{c}") FROM {t}',
    "json in": 'SELECT j.atom, j.value FROM {t}, json_tree(iif(json_valid("{c}"), "{c}", json_quote("{c}"))) AS j',
    "blob": 'SELECT CAST("{c}" AS BLOB), CAST(CAST("{c}" AS BLOB) AS TEXT) FROM {t}',
    "jsonb": 'SELECT jsonb(json_quote("{c}")) FROM {t}',
    "sub-select": 'SELECT (SELECT "{c}" FROM {t} LIMIT 1), (SELECT x FROM (SELECT "{c}" AS x FROM {t}))',
    "correlated": 'SELECT (SELECT b."{c}" FROM {t} AS b WHERE b."{c}" IS a."{c}" LIMIT 1) FROM {t} AS a',
    "common table": 'WITH {t} AS MATERIALIZED (SELECT "{c}" AS x FROM main.{t}) SELECT x FROM {t}',
    "recursive": 'WITH r(x, n) AS (SELECT "{c}", 1 FROM {t} UNION ALL SELECT substr(x, 2), n + 1 FROM r WHERE n < 99) SELECT x FROM r',
    "window": 'SELECT first_value("{c}") OVER (), lag("{c}", 0) OVER (ORDER BY "{c}"), group_concat("{c}") OVER () FROM {t}',
    "natural join": "SELECT * FROM {t} AS a NATURAL JOIN {t} AS b",
    "using": 'SELECT "{c}" FROM {t} AS a JOIN {t} AS b USING ("{c}")',
    "left join": 'SELECT b."{c}" FROM (SELECT 1) LEFT JOIN {t} AS b ON b."{c}" IS NOT NULL',
    "union": 'SELECT "{c}" FROM {t} UNION SELECT "{c}" FROM {t} EXCEPT SELECT 1',
    "values": 'SELECT column1 FROM (VALUES((SELECT "{c}" FROM {t} LIMIT 1)))',
    "case": 'SELECT CASE WHEN "{c}" LIKE \'%\' THEN "{c}" END, iif(1, "{c}", 0), coalesce("{c}", 1), nullif("{c}", 1) FROM {t}',
    "collation": 'SELECT "{c}" COLLATE NOCASE, max("{c}" COLLATE RTRIM) FROM {t}',
    "group": 'SELECT "{c}", count(*) FROM {t} GROUP BY "{c}" HAVING "{c}" > \'\'',
    "order": 'SELECT "{c}" FROM {t} ORDER BY "{c}" COLLATE NOCASE DESC',
    "rowid": 'SELECT rowid, _rowid_, oid, "{c}" FROM {t} WHERE rowid >= 0',
    "error": 'SELECT json_extract("{c}", \'$.\' || "{c}") FROM {t}',
    "error of a path": "SELECT json_extract('{{}}', \"{c}\") FROM {t}",
    "schema": "SELECT * FROM sqlite_schema, pragma_table_info('{t}')",
    "plan": 'EXPLAIN SELECT "{c}" FROM {t} WHERE "{c}" = \'' + ADDRESS + "'",
    "plan of a query": 'EXPLAIN QUERY PLAN SELECT "{c}" FROM {t}',
    "encoded": 'SELECT hex(hex("{c}")), unistr_quote("{c}") FROM {t}',
}

# conditions that hold for what is stored: none may confirm the guess, whether by a row, an order or a count
GUESSES = {
    "equal": "\"{c}\" = '{whole}'",
    "equal to a guess in a list": "\"{c}\" IN ('nothing', '{whole}')",
    "is": "\"{c}\" IS '{whole}'",
    "not different": "NOT (\"{c}\" <> '{whole}')",
    "row value": "(\"{c}\", 1) = ('{whole}', 1)",
    "like": "\"{c}\" LIKE '%{piece}%'",
    "like with an escape": "\"{c}\" LIKE '%{piece}%' ESCAPE '!'",
    "glob": "\"{c}\" GLOB '*{piece}*'",
    "instr": "instr(\"{c}\", '{piece}')",
    "collated": "\"{c}\" COLLATE NOCASE = '{whole}'",
    "lower": "lower(\"{c}\") LIKE '%{piece}%'",
    "replace": "replace(\"{c}\", '{piece}', '') <> \"{c}\"",
    "exists": "EXISTS (SELECT 1 FROM {t} AS b WHERE b.\"{c}\" LIKE '%{piece}%')",
    "json": "json_quote(\"{c}\") LIKE '%{piece}%'",
    "hex": "hex(\"{c}\") LIKE '%' || hex('{piece}') || '%'",
    "between": "\"{c}\" BETWEEN '{whole}' AND '{whole}'",
    "length": "substr(\"{c}\", instr(\"{c}\", '@') - {length}, {length}) = '{piece}'",
}

REFUSED = (
    "ATTACH '/tmp/x.sqlite' AS x",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('/tmp/x', 1)",
    "SELECT * FROM dbstat",
    "SELECT count(*) FROM dbstat",
    "SELECT * FROM sqlite_dbpage",
    "SELECT * FROM fts5vocab",
    "CREATE VIRTUAL TABLE temp.v USING fts5vocab(main, search, row)",
    "CREATE TEMP TABLE x AS SELECT * FROM contacts",
    "SELECT * FROM search",
    "SELECT * FROM search_content",
    "SELECT * FROM search('adalovelace')",
    "SELECT highlight(search, 0, '', '') FROM search",
    "SELECT * FROM contact_emails",
    "SELECT * FROM contact_names",
    "SELECT * FROM blobs",
    "SELECT * FROM ledger.blobs",
    "SELECT * FROM ledger.events",
    "SELECT * FROM source.contacts",
    "SELECT value FROM ledger.meta WHERE key = 'mask_salt'",
    "SELECT hash_blake3 FROM events",
    "SELECT idempotency_key FROM events",
    "SELECT names_folded FROM contacts",
    "SELECT words FROM runs",
    "PRAGMA database_list",
    "SELECT * FROM pragma_database_list",
    "PRAGMA temp_store_directory = '/tmp'",
    "SELECT * FROM pragma_function_list",
    "SELECT fts5_source_id()",
    "SELECT sqlite_offset(email) FROM contacts",
    "SELECT bm25(contacts) FROM contacts",
    "SELECT geopoly_svg('x')",
    "SELECT edit(email) FROM contacts",
    "SELECT mask(email, '') FROM contacts",
    "SELECT blake3('adalovelace')",
)


def masked_columns(laden, names):
    source = apsw.Connection(str(laden._views.path))
    source.execute("ATTACH ? AS ledger", (str(laden.ledger.path),))
    try:
        found = tables_of(source)
    finally:
        source.close()
    return [(name, column.name) for name in names for column in found[name].columns if column.masked]


def every_form(text):
    """What a reader could make of an answer: as it is, hexadecimal and base64 read back, one sign a row joined."""
    yield text
    joined = re.sub(r"[\s'\",()\[\]]", "", text)
    yield joined
    for _ in range(2):
        found = [bytes.fromhex(piece).decode("utf-8", "replace") for piece in re.findall(r"(?:[0-9A-Fa-f]{2}){8,}", text)]
        text = " ".join(found)
        yield text


def assert_nothing_shows(text):
    for form in every_form(text):
        for secret in SECRETS:
            assert secret not in form.lower(), (secret, form[:400])
            assert base64.b64encode(secret.encode()).decode()[:8] not in form


@pytest.mark.parametrize("attack", SHOWING)
def test_no_way_of_asking_shows_what_is_masked(laden, asked, shown, attack):
    rows = 0
    turn = list(SHOWING).index(attack)
    for table in shown:
        columns = masked_columns(laden, [table])
        for _, column in [columns[turn % len(columns)]] if columns and attack != "alias" else columns:  # each has its turn
            sql = SHOWING[attack].replace("{t}", table).replace("{c}", column)
            try:
                result = asked(sql, max_rows=3000)
            except (QueryRefused, QueryLimit) as error:
                text = f"{error.message} {error.hint}"
            else:
                rows += len(result.rows)
                text = str(result.to_dict())
            assert_nothing_shows(text.replace(ADDRESS, "") if attack == "plan" else text)
    assert rows or "error" in attack


@pytest.mark.parametrize(("piece", "whole"), [("adalovelace", ADDRESS), ("1234567", PHONE), ("1111 1111", CARD), ("hunter2", "hunter2")])
def test_no_condition_confirms_a_guess(laden, asked, shown, piece, whole):
    for table, column in masked_columns(laden, shown):
        parts = []
        names = {"{t}": table, "{c}": column, "{whole}": whole, "{piece}": piece, "{length}": str(len(piece))}
        for form in GUESSES.values():
            guess = re.sub(r"\{\w+\}", lambda name, names=names: names[name[0]], form)
            parts += [f"SELECT count(*) FROM {table} WHERE {guess}", f"SELECT sum(coalesce(({guess}), 0)) FROM {table}"]
        counts = [row[0] for row in asked(" UNION ALL ".join(parts)).rows]
        assert counts == [0] * len(parts), (table, column, counts)


@pytest.mark.parametrize("guess", ["email = '{}'", "email IN ('{}')", "instr(email, '{}')"])
def test_a_known_address_is_not_confirmed(asked, guess):
    assert asked(f"SELECT count(*) FROM contacts WHERE {guess.replace('{}', ADDRESS)}").rows == [(0,)]


def test_a_join_with_a_guess_confirms_nothing(asked):
    for join in ("NATURAL JOIN g", "JOIN g USING (email)", "JOIN g ON g.email = c.email", "JOIN g ON c.email LIKE g.email"):
        sql = f"WITH g(email) AS (VALUES('{ADDRESS}')) SELECT count(*) FROM contacts AS c {join}"
        assert asked(sql).rows == [(0,)]


def test_the_order_of_rows_is_that_of_the_masks(kb, contact):
    kb.ledger.append([contact(f"P{number}", f"{local}@x.org") for number, local in enumerate(["ab", "aa", "ad", "ac"])])
    kb.sync()
    rows = answer(kb.query_request("SELECT email FROM contacts WHERE name LIKE 'P_' ORDER BY email")).rows
    masks = sorted(kb.redactor.text(f"{local}@x.org") for local in ("aa", "ab", "ac", "ad"))
    assert [row[0] for row in rows] == masks


@pytest.mark.parametrize("sql", REFUSED)
def test_what_leads_past_the_masked_tables_is_refused(asked, sql):
    with pytest.raises(QueryRefused) as caught:
        asked(sql)
    assert_nothing_shows(f"{caught.value.message} {caught.value.hint}")


def test_a_query_that_is_no_text_says_so(asked):
    with pytest.raises(QueryRefused, match="holds bytes that are no UTF-8"):
        asked("SELECT 'K\udce4se'")


def test_the_same_value_has_the_same_mask_in_every_table(laden, asked):
    [[mask]] = asked("SELECT email FROM contacts WHERE contact_key LIKE '0%' OR email LIKE '%example.com' LIMIT 1").rows
    assert mask == laden.redactor.text(ADDRESS)
    places = (
        "accounts.handle notes.text mails.recipients nodes.label edges.target_key entity_history.entity_key problems.error events.actor"
    )
    for table, _, column in (place.partition(".") for place in [*places.split(), "events.payload_json"]):
        assert asked(f"SELECT count(*) > 0 FROM {table} WHERE instr({column}, '{mask}')").rows == [(1,)], table
    joined = "SELECT count(*) FROM contacts AS c JOIN notes AS n ON instr(n.text, c.email)"
    assert asked(joined).rows[0][0] > 0


def test_rows_are_left_out_where_the_settings_say_so(laden):
    def rows(sql):
        return answer(replace(laden.query_request(sql), rules=Rules(drop_masked_rows=True))).rows

    assert rows("SELECT name, email FROM contacts") == []
    assert rows("SELECT trust FROM contacts") != []  # nothing of these columns would be masked


def test_every_table_and_column_is_shown_or_hidden_for_a_reason(laden):
    source = apsw.Connection(str(laden._views.path))
    source.execute("ATTACH ? AS ledger", (str(laden.ledger.path),))
    seen = tables_of(source)
    for name, _ in tables(source, "main"):
        assert name in seen or name in HIDDEN or name.startswith("search"), name
    assert set(seen) - {name for name, _ in tables(source, "main")} == {"events"}
    assert all(reason for reason in HIDDEN.values())
    for table in seen.values():
        for column in table.columns:
            assert column.masked or is_plain(table.name, column.name) or column.type in {"INTEGER", "REAL"}, (table.name, column)
    source.close()
