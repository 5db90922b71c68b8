import pytest

from vizecg.environment import house_environment
from vizecg.settings import Settings, shown


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://alice:s3cret@host:5000/x", "http://***@host:5000/x"),
        ("https://token@host", "https://***@host"),
        ("http://alice:s3@cret@host", "http://***@host"),
        ("http://alice:s3#cr?et@host", "http://***@host"),
        ("postgresql://alice:s3cret@host/db", "postgresql://***@host/db"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("GET http://a:b@host failed, then https://c:d@host", "GET http://***@host failed, then https://***@host"),
    ],
)
def test_an_address_is_shown_without_who_and_password(uri, expected):
    assert shown(uri) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "git.example.org,localhost"}, "git.example.org,localhost,127.0.0.1"),
        ({"NO_PROXY": "ignored", "no_proxy": "git.example.org"}, "git.example.org,127.0.0.1,localhost"),
    ],
)
def test_programs_ask_servers_of_this_machine_without_the_proxy_of_the_shell(said, expected, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    environment = house_environment(Settings())
    assert environment["NO_PROXY"] == environment["no_proxy"] == expected
