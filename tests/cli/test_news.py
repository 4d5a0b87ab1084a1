"""Progress where stderr is no terminal: nothing before two seconds, then now and then."""

from ckpt.cli import news


def test_what_is_quick_says_nothing(capsys):
    with news.news("tracing") as said:
        said.task("planning")
    assert capsys.readouterr().err == ""


def test_what_takes_long_is_reported_now_and_then(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(news.time, "monotonic", lambda: now[0])
    with news.news("tracing") as said:
        for second in range(20):
            now[0] = 100.0 + second
            said.task(f"task {second}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["task 2 (2 s)", "task 7 (7 s)", "task 12 (12 s)", "task 17 (17 s)"]


def test_what_a_policy_has_so_far(capsys, monkeypatch):
    from ckpt.choice import Step

    now = [0.0]
    monkeypatch.setattr(news.time, "monotonic", lambda: now[0])
    with news.news("planning") as said:
        now[0] = 3.0
        said.step(Step(3.0, "min cut", seconds=0.5, bound_seconds=0.25))
    assert (
        capsys.readouterr().err == "planning: min cut, best 5.000e-01 s, bound 2.500e-01 s (3 s)\n"
    )
