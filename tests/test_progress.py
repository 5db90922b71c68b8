"""What somebody who waits reads where there is no terminal."""

import itertools

from vizecg import progress


def test_an_estimate_leaves_out_what_only_the_first_one_waits_for(monkeypatch, capsys):
    # One call before the loop, one for each item: a minute for the first, a second for each that follows.
    seconds = itertools.chain([0.0], itertools.count(60.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    assert list(progress._with_lines(range(100), total=100, what="pages")) == list(range(100))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "pages: 1 of 100"
    done = 1 + int(progress.LINE_EVERY_S)
    assert lines[1] == f"pages: {done} of 100, about {100 - done} s left"
