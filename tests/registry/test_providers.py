"""What the configuration says of sign-in providers: read, or refused without showing a secret."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from auth.providers import Provider, is_trusted_url, parse_providers
from registry.config import Config, ConfigError, load
from registry.sign_in_providers import check_providers

LEAST: dict[str, Any] = {
    "name": "corp",
    "issuer": "https://login.example.com/realms/corp",
    "client_id": "packhouse",
}
ALL = """
openid:
  - name: corp
    title: Example Corp
    issuer: https://login.example.com/
    client_id: packhouse
    client_secret: hush
    scopes: [openid, groups]
    username_claim: login
    groups_claim: groups
    groups: {"Developers (EU)": acme/devs, ops: Acme/Ops}
    create: true
"""


def test_every_key_of_a_provider_is_read(tmp_path: Path) -> None:
    file = tmp_path / "packhouse.yaml"
    file.write_text(ALL)
    (provider,) = load(file, {}, {}).openid
    assert provider == Provider(
        name="corp",
        title="Example Corp",
        issuer="https://login.example.com/",
        client_id="packhouse",
        client_secret="hush",
        scopes=("openid", "groups"),
        username_claim="login",
        groups_claim="groups",
        groups=(("Developers (EU)", "acme/devs"), ("ops", "acme/ops")),
        create=True,
    )
    assert "hush" not in repr(provider)
    text = yaml.safe_dump(yaml.safe_load(ALL)["openid"], default_flow_style=True)
    assert load(None, {"PACKHOUSE_OPENID": text}, {}).openid == (provider,)


def test_what_is_left_out_is_careful() -> None:
    (provider,) = parse_providers([LEAST])
    assert (provider.create, provider.groups, provider.secret()) == (False, (), "")
    assert provider.shown == "corp"
    assert provider.scopes == ("openid", "profile")


WRONG: list[tuple[Any, str]] = [
    ("corp", "a list of providers"),
    ({"name": "corp"}, "a list of providers"),
    (["corp"], "a list of providers"),
    ([{}], "lacks name"),
    ([{**LEAST, "issuer": "http://login.example.com"}], "issuer of provider 'corp' is wrong"),
    ([{**LEAST, "issuer": "https://login.example.com/?x=1"}], "issuer of provider"),
    ([{**LEAST, "issuer": "https://u:hush@login.example.com"}], "issuer of provider"),
    ([{**LEAST, "issuer": "https://"}], "issuer of provider"),
    ([{**LEAST, "issuer": 5}], "issuer of provider"),
    ([{**LEAST, "name": "Corp"}], "name of provider"),
    ([{**LEAST, "name": "a/b"}], "name of provider"),
    ([{**LEAST, "client_id": ""}], "client_id of provider"),
    ([{**LEAST, "client_id": "a\nb"}], "client_id of provider"),
    ([{**LEAST, "scopes": ["profile"]}], "with openid in it"),
    ([{**LEAST, "scopes": "openid"}], "scopes of provider"),
    ([{**LEAST, "create": "yes"}], "write true or false"),
    ([{**LEAST, "groups": {"a": "devs"}, "groups_claim": "g"}], "ORGANIZATION/TEAM"),
    ([{**LEAST, "groups": ["a"], "groups_claim": "g"}], "groups of provider"),
    ([{**LEAST, "groups": {"a": "acme/devs"}}], "write both or neither"),
    ([{**LEAST, "groups_claim": "g"}], "write both or neither"),
    ([{**LEAST, "client_secret": "hush", "client_secret_file": "x"}], "has two secrets"),
    ([{**LEAST, "client_secert": "hush"}], "has no 'client_secert'"),
    ([LEAST, LEAST], "two providers have one name"),
    ([LEAST, {**LEAST, "name": "other"}], "two providers have one issuer"),
    ([{**LEAST, "name": f"p{n}"} for n in range(21)], "at most 20"),
]


@pytest.mark.parametrize(("value", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_provider_that_cannot_work_is_refused_without_its_secret(value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, {}, {"openid": value})
    message = str(raised.value)
    assert message.startswith("option --openid is not usable: ")
    assert words in message
    assert "hush" not in message
    assert message.isprintable()


@pytest.mark.parametrize("text", ["[", "hush", "{a: b}", "!!python/object x", "[" * 3000])
def test_what_is_no_list_in_the_environment_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, {"PACKHOUSE_OPENID": text}, {})
    assert "PACKHOUSE_OPENID is not usable: write a list of providers" in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://login.example.com", True),
        ("https://login.example.com:8443/x?y=z", True),
        ("http://127.0.0.1:3000", True),
        ("http://[::1]:3000", True),
        ("http://localhost", True),
        ("http://login.example.com", False),
        ("http://127.0.0.1.evil.test", False),
        ("http://localhost.evil.test", False),
        ("http://localhost@evil.test", False),
        ("http://0.0.0.0", False),
        ("http://169.254.169.254", False),
        ("https://user:x@login.example.com", False),
        ("https:///x", False),
        ("https://x:99999", False),
        ("https://[::1", False),
        ("//login.example.com", False),
        ("ftp://login.example.com", False),
        ("https://ex\nample.com", False),
        ("https://exämple.com", False),
        ("", False),
    ],
)
def test_where_a_provider_may_be_asked(url: str, trusted: bool) -> None:
    assert is_trusted_url(url) is trusted


@given(st.text())
def test_any_url_is_trusted_or_not(text: str) -> None:
    for url in (text, f"https://{text}", f"http://{text}"):
        is_trusted_url(url)


def test_a_secret_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    config = Config(openid=parse_providers([{**LEAST, "client_secret_file": str(file)}]))
    with pytest.raises(ConfigError, match="client_secret_file of provider 'corp'"):
        check_providers(config)
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        check_providers(config)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="client_secret_file of provider 'corp'"):
        check_providers(config)
    file.write_text("hush\n")
    check_providers(config)
    assert config.openid[0].secret() == "hush"
