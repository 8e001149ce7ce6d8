"""A person is forgotten beside the daemon that ran what mentions them: nobody gets the texts from its memory."""

import json

OPENING = """version: 0
name: letter
params: {who: Maria Quux}
nodes: [{id: only, use: "agent:quick", with: {who: "{{params.who}}"}}]
edges: []
"""


async def test_who_attaches_to_a_run_that_lost_texts_gets_them_from_nowhere(daemon, words):
    daemon.agent("quick", words.head + "def run(who: str) -> dict:\n    return {'out': 'Dear ' + who}\n")
    daemon.start()
    async with daemon.client() as link:
        run_id = (await link.run(OPENING))[0]["run_id"]

        async def told():
            records = await link.client.subscribe(f"rlp/runs/trace:{run_id}/events", "durable")
            found = []
            async for record in records:
                found.append(json.dumps(record.payload))
                if record.payload["kind"] == "run.finished":
                    return found
            return found

        before = await told()
        assert any("Maria Quux" in each for each in before)
        forgotten = daemon.rlp("forget", "Maria Quux", "--yes", "--json")
        assert forgotten.returncode == 0, forgotten.stderr
        after = await told()
        assert len(after) == len(before)
        assert [each for each in after if "Maria" in each] == []
