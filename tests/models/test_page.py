"""docs/models.md names every code that the broker can end in, and none that it cannot."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def codes_in_source():
    found = set()
    for path in (ROOT / "runloop" / "models").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"model\.[a-z_]+", node.value):
                found.add(node.value)
    return found - {"model.failed"}  # the base class's own, which nothing raises


def test_every_code_is_explained_and_no_other():
    page = (ROOT / "docs" / "models.md").read_text()
    table = page[page.index("## What can go wrong") :]

    assert set(re.findall(r"`(model\.[a-z_]+)`", table)) == codes_in_source()


def test_the_examples_are_settings_that_work(tmp_path):
    from runloop.config import load
    from runloop.models.settings import check_settings
    from runloop.runs.model_settings import model_settings

    page = (ROOT / "docs" / "models.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    loaded = []
    for example in examples:
        (tmp_path / "config.yaml").write_text(example)
        settings = model_settings(
            load(env={"RUNLOOP_CONFIG": str(tmp_path / "config.yaml"), "HOME": str(tmp_path)}, system_dir=tmp_path / "none")
        )
        check_settings(settings)
        loaded.append((settings.default, settings.hard_cap_usd_micros, settings.providers[0].id))

    assert loaded == [("ollama:llama3.2", None, "ollama"), ("anthropic:claude-sonnet-4-5", 500_000, "anthropic")]


def test_a_provider_has_the_length_of_the_context_that_is_set(tmp_path):
    from runloop.config import load
    from runloop.runs.model_settings import model_settings

    page = (ROOT / "docs" / "models.md").read_text()
    (example,) = re.findall(r"`({id: ollama, .*num_ctx: \d+})`", page)
    (tmp_path / "config.yaml").write_text(f"models: {{broker: {{providers: [{example}]}}}}")
    settings = model_settings(
        load(env={"RUNLOOP_CONFIG": str(tmp_path / "config.yaml"), "HOME": str(tmp_path)}, system_dir=tmp_path / "none")
    )

    assert [each.num_ctx for each in settings.providers] == [16_384]
