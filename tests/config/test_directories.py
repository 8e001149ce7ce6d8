import os
import stat
from pathlib import Path

import pytest

from runloop.config import ConfigError, ensure, load
from runloop.config.paths import find_base


def base(**env):
    return find_base(env)


def test_everything_lies_under_the_home_directory_by_default():
    found = base(HOME="/h")
    assert (found.state, found.cache, found.sockets) == (Path("/h/.runloop"), Path("/h/.cache/runloop"), Path("/h/.runloop/sock"))
    assert found.user_files == (Path("/h/.config/runloop/config.yaml"), Path("/h/.runloop/config.yaml"))


def test_the_xdg_variables_move_cache_configuration_and_socket():
    found = base(HOME="/h", XDG_CACHE_HOME="/c", XDG_CONFIG_HOME="/x", XDG_RUNTIME_DIR="/run/user/1")
    assert (found.cache, found.sockets, found.user_files[0]) == (
        Path("/c/runloop"),
        Path("/run/user/1/runloop"),
        Path("/x/runloop/config.yaml"),
    )


def test_runloop_home_moves_the_state_and_keeps_two_installations_apart():
    found = base(HOME="/h", RUNLOOP_HOME="/r", XDG_RUNTIME_DIR="/run/user/1")
    assert (found.state, found.sockets, found.user_files[-1]) == (Path("/r"), Path("/r/sock"), Path("/r/config.yaml"))


def test_runloop_home_is_enough_where_there_is_no_home():
    found = base(RUNLOOP_HOME="/r")
    assert (found.state, found.cache, found.user_files) == (Path("/r"), Path("/r/cache"), (Path("/r/config.yaml"),))


@pytest.mark.parametrize("env", [{}, {"HOME": ""}, {"HOME": "  ", "RUNLOOP_HOME": ""}])
def test_no_home_at_all_is_a_clear_error(env):
    with pytest.raises(ConfigError) as caught:
        find_base(env)
    assert (caught.value.code, "RUNLOOP_HOME" in caught.value.hint) == ("config.no_home", True)


@pytest.mark.parametrize("name", ["HOME", "RUNLOOP_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"])
def test_a_relative_directory_variable_is_an_error_that_names_it(name):
    with pytest.raises(ConfigError) as caught:
        find_base({"HOME": "/h", name: "some/where"})
    assert (caught.value.code, caught.value.where.key) == ("config.path_relative", name)


def test_a_directory_above_one_that_a_link_leads_to_is_the_same_for_everything(tmp_path):
    there = tmp_path / "there" / "deep"
    there.mkdir(parents=True)
    (tmp_path / "link").symlink_to(there)
    found = load(env={"HOME": f"{tmp_path}/link/.."}, cwd=tmp_path, system_dir=tmp_path)
    state = tmp_path / "there" / ".runloop"
    assert (found.directories.state, found.directories.pog, found.sockets) == (state, state / "pog", (state / "sock" / "rmp.sock",))


@pytest.mark.parametrize(
    ("env", "key"),
    [
        ({"HOME": "/h\udce9"}, "HOME"),
        ({"HOME": "/h", "RUNLOOP_HOME": "/r\udce9"}, "RUNLOOP_HOME"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/c\udce9"}, "XDG_CACHE_HOME"),
        ({"HOME": "/h", "XDG_RUNTIME_DIR": "/r\udce9"}, "XDG_RUNTIME_DIR"),
    ],
)
def test_a_directory_whose_name_is_no_text_is_an_error_that_says_which_variable_names_another(env, key):
    with pytest.raises(ConfigError) as caught:
        find_base(env)
    assert (caught.value.code, caught.value.where.key, key in caught.value.hint or "RUNLOOP_HOME" in caught.value.hint) == (
        "config.path_not_text",
        key,
        True,
    )


def test_a_directory_is_not_taken_for_another_of_the_name_that_its_bytes_have_in_utf_8(monkeypatch):
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("latin-1"))
    for name in ("/f\xfcr", "/\U0001f98a"):
        with pytest.raises(ConfigError) as caught:
            find_base({"HOME": "/h", "RUNLOOP_HOME": name})
        assert caught.value.code == "config.path_not_text"


def test_a_path_in_a_setting_is_text(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(env={"HOME": str(tmp_path), "RUNLOOP__KB__ROOT_DIR": "/k\udce9"})
    assert (caught.value.code, "'/k\\udce9'" in caught.value.message) == ("config.path_not_text", True)


def test_a_tilde_in_a_directory_variable_is_the_home():
    assert base(HOME="/h", RUNLOOP_HOME="~/r").state == Path("/h/r")


def test_settings_move_the_single_directories(tmp_path):
    env = {"HOME": str(tmp_path), "RUNLOOP__KB__ROOT_DIR": "/k", "RUNLOOP__RUNTIME__WORKDIR": "/w", "RUNLOOP__AGENTS__CACHE_DIR": "/c"}
    found = load(env=env, cwd=tmp_path, system_dir=tmp_path).directories
    assert (found.pog, found.outbox, found.artifacts, found.cache) == (Path("/k"), Path("/w/outbox"), Path("/w/artifacts"), Path("/c"))
    assert (found.agents, found.token) == (tmp_path / ".runloop/agents", tmp_path / ".runloop/token")


def test_the_socket_path_beats_the_directory_of_sockets(tmp_path):
    def socket(**env):
        return load(env={"HOME": str(tmp_path), **env}, cwd=tmp_path, system_dir=tmp_path).directories.socket

    assert socket(RUNLOOP__RUNTIME__SOCKETS_DIR="/s") == Path("/s/rmp.sock")
    assert socket(RUNLOOP__RUNTIME__SOCKETS_DIR="/s", RUNLOOP__RUNTIME__SOCKET_PATH="/p.sock") == Path("/p.sock")


def test_a_home_whose_name_has_a_dollar_sign_is_that_directory_and_no_variable(tmp_path):
    env = {"HOME": str(tmp_path / "of $USER"), "USER": "eve"}
    settings = load(env=env, cwd=tmp_path, system_dir=tmp_path)
    assert settings.directories.pog == tmp_path / "of $USER/.runloop/pog"
    assert settings.directories.socket == tmp_path / "of $USER/.runloop/sock/rmp.sock"
    assert tmp_path / "of $USER/.runloop/openings" in settings.get("openings.search_dirs")


def test_directories_are_made_for_the_user_alone(tmp_path):
    made = ensure(tmp_path / "a/b")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made, made.parent)] == [0o700, 0o700]
    assert ensure(made) == made


def test_an_existing_directory_keeps_its_mode(tmp_path):
    path = tmp_path / "shared"
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    ensure(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_directory_that_cannot_be_made_names_itself_and_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(ConfigError) as caught:
            ensure(path)
        assert (caught.value.code, caught.value.where.file) == ("config.directory_unusable", str(path))
        assert (caught.value.message.endswith("or a link that leads nowhere"), caught.value.hint.startswith("Move that away")) == (
            True,
            True,
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_not_writable_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError) as caught:
        ensure(tmp_path)
    assert "not writable" in caught.value.message
