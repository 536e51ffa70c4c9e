"""Settings: which source wins, what is refused and in which words, and the secret key."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatserver.domain.extend import Setting
from chatserver.domain.models import ModelAlias
from chatserver.errors import SetupError
from chatserver.settings import Limits, Settings, check_public, check_public_url, is_loopback, load, own_folder

Load = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Load a file's text with an environment and options of the test's own."""

    def read(text: str = "", environ: dict[str, str] | None = None, **options: Any) -> Settings:
        path = tmp_path / "chatserver.toml"
        path.write_text(text)
        return load({"config": str(path), "data": str(tmp_path / "data"), **options}, environ or {})

    return read


def test_defaults(read: Load) -> None:
    settings = read()
    assert (settings.host, settings.port, settings.public_url, settings.grace_s) == ("127.0.0.1", 8000, "", 30)
    assert settings.limits == Limits()
    assert settings.limits.turns_per_account == 4
    assert settings.source_of("port") == "default"


def test_options_win_over_the_environment_over_the_file(read: Load, tmp_path: Path) -> None:
    environ = {"CHATSERVER_PORT": "2000", "CHATSERVER_HOST": "127.0.0.2"}
    settings = read('port = 3000\nhost = "127.0.0.3"\ngrace_s = 5', environ, port=1000)
    assert (settings.port, settings.source_of("port")) == (1000, "option")
    assert (settings.host, settings.source_of("host")) == ("127.0.0.2", "CHATSERVER_HOST")
    settings = read("port = 3000")
    assert (settings.port, settings.source_of("port")) == (3000, str(tmp_path / "chatserver.toml"))


def test_places_come_from_the_environment_or_the_platform(tmp_path: Path) -> None:
    environ = {"CHATSERVER_DATA": str(tmp_path / "d"), "CHATSERVER_CONFIG": str(tmp_path / "c" / "x.toml")}
    settings = load({}, environ)
    assert settings.data_dir == tmp_path / "d"
    assert settings.config_file == tmp_path / "c" / "x.toml"
    assert load({}, {"CHATSERVER_SECRET_KEY": "k" * 32}).config_file.name == "chatserver.toml"


def test_channels(read: Load) -> None:
    text = """
        [[channels]]
        name = "first"
        provider = "some"
        base_url = "http://127.0.0.1:9000/v1/"
        api_key = "env:KEY_ONE"
        models = ["gpt-x", "gpt-x-mini=upstream-name"]
        priority = 10
        first_token_s = 5
        requests_per_minute = 60
        tokens_per_minute = 9000
        concurrency = 4
        note = "the old one"
        [[channels]]
        name = "second"
        provider = "other"
        api_key = "literal"
        on = false
    """
    first, second = read(text, {"KEY_ONE": "k1"}).channels
    assert first.api_key == "k1"
    assert first.base_url == "http://127.0.0.1:9000/v1"
    assert first.models == (ModelAlias("gpt-x", "gpt-x"), ModelAlias("gpt-x-mini", "upstream-name"))
    assert (first.priority, first.weight, first.groups) == (10, 1, ("default",))
    assert (first.first_token_s, first.gap_s) == (5, 60)
    assert (first.requests_per_minute, first.tokens_per_minute, first.concurrency) == (60, 9000, 4)
    assert (first.note, second.concurrency) == ("the old one", 0)
    assert (second.api_key, second.models) == ("literal", ())
    assert (first.is_on, second.is_on) == (True, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", "the key 'colour' is unknown"),
        ("[limits]\nturns_per_acount = 1", "[limits] the key 'turns_per_acount' is unknown; known here: .*turns_per_a"),
        ("[limits]\nturns_per_account = 'four'", "Expected `int`, got `str` - at `$.limits.turns_per_account`"),
        ("[[channels]]\nname = 'a'\nprovider = 'p'\nkey = 1", "[[channels]] number 1: the key 'key' is unknown"),
        ("[[channels]]\nname = 'a'", "missing required field `provider` - at `$.channels[0]`"),
        ("[[channels]]\nname='a'\nprovider='p'\n[[channels]]\nname='a'\nprovider='p'", "a name of its own"),
        ("[[channels]]\nname='a'\nprovider='p'\napi_key='env:NOT_SET'", "NOT_SET, which is not set"),
        ("[[channels]]\nname='a'\nprovider='p'\nbase_url='ftp://x'", "base_url must begin with http"),
        ("[[channels]]\nname='a'\nprovider='p'\nmodels=['m=x','m=y']", "each public name once"),
        ("[[channels]]\nname='a'\nprovider='p'\nmodels=['=x']", "models must be names"),
        ("[[channels]]\nname='a'\nprovider='p'\nconcurrency=-1", "concurrency must be 0 or more"),
        ("[plugins]\nenabeld = []", "'enabeld'; it knows enabled and disabled"),
        ("[plugins]\nenabled = 'x'", "must be a list of names"),
        ("trusted_proxies = ['here']", "'here' is not an address or network"),
        ("port = 70000", "between 0 and 65535"),
        ("port = ", "is not valid TOML"),
    ],
)
def test_what_cannot_be_understood_is_told_with_file_and_key(read: Load, text: str, words: str) -> None:
    with pytest.raises(SetupError, match=re.escape(words).replace(r"\.\*", ".*")) as caught:
        read(text)
    if "port = 70000" not in text:
        assert "chatserver.toml" in str(caught.value)


def test_a_port_that_is_no_number_names_its_variable(read: Load) -> None:
    with pytest.raises(SetupError, match="CHATSERVER_PORT: port must be a number, and is 'many'"):
        read("", {"CHATSERVER_PORT": "many"})


def test_a_plugin_gets_what_it_declared_environment_first(read: Load) -> None:
    declared = [
        Setting("city", "Where", default="Rome", env="CITY"),
        Setting("days", "How many", "number", "1"),
        Setting("is_warm", "Warm", "boolean"),
        Setting("key", "Key", "secret"),
    ]
    text = '[plugins.weather]\ncity = "Oslo"\ndays = 3\nis_warm = true\nkey = "env:WEATHER"'
    settings = read(text, {"CITY": "Bern", "OTHER": "secret", "WEATHER": "w1"})
    assert settings.for_plugin("weather", declared) == {"city": "Bern", "days": "3", "is_warm": "true", "key": "w1"}
    assert read(text, {"WEATHER": "w"}).for_plugin("weather", declared)["city"] == "Oslo"
    assert settings.for_plugin("other", declared[1:]) == {}
    with pytest.raises(SetupError, match=r"\[plugins.weather\] the key 'city' is unknown"):
        settings.for_plugin("weather", declared[1:])


def test_the_secret_key_is_made_once_and_is_private(read: Load, tmp_path: Path) -> None:
    first = read()
    path = tmp_path / "chatserver.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(first.secret_key) >= 32
    assert read().secret_key == first.secret_key
    assert sorted(one.name for one in tmp_path.iterdir()) == ["chatserver.key", "chatserver.toml"]
    assert first.secret_key.decode() not in repr(first)


def test_a_given_secret_key_is_taken_and_a_short_one_refused(read: Load, tmp_path: Path) -> None:
    assert read("", {"CHATSERVER_SECRET_KEY": "x" * 32}).secret_key == b"x" * 32
    assert not (tmp_path / "chatserver.key").exists()
    with pytest.raises(SetupError, match="at least 32 characters"):
        read("", {"CHATSERVER_SECRET_KEY": "x" * 31})
    (tmp_path / "chatserver.key").write_text("")
    with pytest.raises(SetupError, match="at least 32 characters"):
        read()


def test_no_key_is_made_for_commands_that_only_look(read: Load, tmp_path: Path) -> None:
    load({"config": str(tmp_path / "chatserver.toml")}, {}, makes_key=False)
    assert not (tmp_path / "chatserver.key").exists()


@pytest.mark.parametrize(
    "url", ["chat.example.org", "ftp://x", "https://x/path", "https://u@x", "https://x:99999", "https://"]
)
def test_a_public_url_is_a_scheme_and_a_host(url: str) -> None:
    with pytest.raises(SetupError, match="must look like https://chat.example.org"):
        check_public_url(url)


def test_a_public_url_is_tidied() -> None:
    assert check_public_url(" https://Chat.example.org:8443/ ") == "https://chat.example.org:8443"


def test_serving_beyond_this_machine_takes_a_public_url(read: Load) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        check_public(read("", host=host))
    for host in ("0.0.0.0", "::", "192.168.1.2", "chat.example.org"):
        assert not is_loopback(host)
        with pytest.raises(SetupError, match="set CHATSERVER_PUBLIC_URL"):
            check_public(read("", host=host))
        check_public(read('public_url = "https://chat.example.org"', host=host))


def documented(language: str) -> list[str]:
    text = (Path(__file__).resolve().parent.parent / "docs" / "configuration.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_docs_are_read_and_name_every_limit_with_its_default(read: Load) -> None:
    settings = read("\n".join(documented("toml")), {"KEY_ONE": "k"})
    assert settings.channels[0].models[1] == ModelAlias("gpt-x-mini", "upstream-name")
    assert settings.plugins_enabled == ("weather",)
    assert settings.limits == Limits()
    for name in Limits.__struct_fields__:
        assert any(f"\n{name} = " in text for text in documented("toml")), name


@pytest.mark.parametrize(
    ("platform", "environ", "data", "config"),
    [
        ("linux", {"HOME": "/home/ada"}, "/home/ada/.local/share/chatserver", "/home/ada/.config/chatserver"),
        ("linux", {"HOME": "/home/ada", "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": " "}, "/d/chatserver",
         "/home/ada/.config/chatserver"),
        ("darwin", {"HOME": "/Users/ada"}, "/Users/ada/Library/Application Support/chatserver",
         "/Users/ada/Library/Application Support/chatserver"),
        ("win32", {"LOCALAPPDATA": "/ada/Local"}, "/ada/Local/chatserver", "/ada/Local/chatserver"),
    ],
)  # fmt: skip
def test_each_platform_keeps_a_program_s_own_where_it_does(
    platform: str, environ: dict[str, str], data: str, config: str
) -> None:
    assert str(own_folder(environ, "data", platform)) == data
    assert str(own_folder(environ, "config", platform)) == config
