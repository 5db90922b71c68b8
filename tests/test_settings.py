import pytest

from vizecg.settings import shown


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
