"""Who is asked again, how long, and who is not."""

import pytest

from vizecg.errors import InputError, Unavailable
from vizecg.patience import patiently


class Server:
    """Answers after so many seconds of a clock that only waiting moves."""

    def __init__(self, *, back_after_s):
        self.now_s = 0.0
        self.asked_at_s = []
        self.said = []
        self._back_after_s = back_after_s

    def ask(self):
        self.asked_at_s.append(self.now_s)
        if self.now_s < self._back_after_s:
            raise Unavailable("MLflow does not answer")
        return "an answer"

    def wait(self, seconds):
        self.now_s += seconds

    def asked(self, *, patience_s):
        return patiently(
            self.ask, patience_s=patience_s, say=self.said.append, wait=self.wait, clock=lambda: self.now_s
        )


def test_a_server_that_comes_back_is_asked_in_pauses_that_double_up_to_fifteen_seconds():
    server = Server(back_after_s=50)
    assert server.asked(patience_s=300) == "an answer"
    assert server.asked_at_s == [0, 1, 3, 7, 15, 30, 45, 60]
    assert server.said[0] == "MLflow does not answer; asking again in 1 s"
    assert len(server.said) == 7


def test_who_stays_away_is_given_up_when_the_patience_is_over():
    server = Server(back_after_s=1000)
    with pytest.raises(Unavailable, match="MLflow does not answer"):
        server.asked(patience_s=40)
    assert server.asked_at_s == [0, 1, 3, 7, 15, 30]


def test_without_patience_it_is_asked_once():
    server = Server(back_after_s=1)
    with pytest.raises(Unavailable):
        server.asked(patience_s=0)
    assert (server.asked_at_s, server.said) == ([0], [])


def test_a_refusal_is_not_asked_again():
    asked = []

    def refuse():
        asked.append(1)
        raise InputError("wrong password")

    with pytest.raises(InputError, match="wrong password"):
        patiently(refuse, patience_s=300, say=print, wait=lambda _: None)
    assert len(asked) == 1
