"""Progress as lines for people."""

from runner.local_model.progress import Progress, in_words


def test_lines_come_when_something_begins_and_then_now_and_again() -> None:
    """A download is told every few seconds, a wait once, and readiness not at all."""
    now = [0.0]
    lines: list[str] = []
    report = in_words(lines.append, every_seconds=5, clock=lambda: now[0])
    mebibyte = 1024 * 1024
    for second in range(11):
        now[0] = second
        report(Progress("download", "downloading", second * mebibyte, 10 * mebibyte))
        report(Progress("wait", "waiting"))
    report(Progress("ready", "it answers"))
    assert lines == [
        "downloading: 0 % (0 of 10 MiB)",
        "waiting",
        "downloading: 50 % (5 of 10 MiB)",
        "downloading: 100 % (10 of 10 MiB)",
    ]
