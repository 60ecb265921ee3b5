"""usage.jsonl: written to survive, read as it was left."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gateway.ledger import CallRecord, CallState, Ledger, LedgerContents, read_ledger, sum_of
from tests.gateway.serving import route_to, run, served
from tests.support.provider import Hold, Provider, Rule, Script, Text


def record(
    call_id: str, tokens: int = 10, state: CallState = "settled", agent: str = "a", model: str = "m"
) -> CallRecord:
    return CallRecord(
        call_id=call_id,
        state=state,
        run_id="r",
        agent_id=agent,
        provider="openai",
        model=model,
        started=1.0,
        ended=2.0 if state == "settled" else None,
        end="complete" if state == "settled" else None,
        input_tokens=tokens,
        output_tokens=2 * tokens,
        cached_tokens=1,
        cost_usd=tokens / 1000,
    )


def lines(*records: CallRecord) -> bytes:
    return b"".join(f"{one.model_dump_json()}\n".encode() for one in records)


def written(path: Path, *records: CallRecord) -> Ledger:
    """Return a ledger that has written and counted `records`, and is closed."""

    async def scenario() -> Ledger:
        async with Ledger(path) as ledger:
            for one in records:
                ledger.write(one)
                ledger.count(one)
            await ledger.synced()
        return ledger

    return run(scenario())


def test_adds_up_by_agent_and_by_model(tmp_path: Path) -> None:
    """The sums of agents and of models are those of the whole, and of the lines on the disk."""
    path = tmp_path / "usage.jsonl"
    ledger = written(
        path,
        record("1", 10, agent="a", model="m"),
        record("2", 20, agent="b", model="m"),
        record("3", 30, agent="a", model="n"),
    )

    usage = ledger.usage()
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (3, 60, 120)
    assert usage.cost_usd == pytest.approx(0.06)
    assert {name: u.input_tokens for name, u in usage.by_agent.items()} == {"a": 40, "b": 20}
    assert {name: u.input_tokens for name, u in usage.by_model.items()} == {"m": 30, "n": 30}
    assert sum_of(read_ledger(path).calls) == usage
    assert path.stat().st_mode & 0o077 == 0


def test_a_call_counts_once_with_its_last_line(tmp_path: Path) -> None:
    """What was set aside gives way to what was used; nothing makes an ended call open again."""
    path = tmp_path / "usage.jsonl"
    path.write_bytes(
        lines(
            record("1", 99, "open"),
            record("2", 50, "open"),
            record("1", 7),
            record("1", 8),
            record("1", 99, "open"),
        )
    )

    calls = read_ledger(path).calls

    assert [(c.call_id, c.state, c.input_tokens) for c in calls] == [
        ("1", "settled", 8),
        ("2", "open", 50),
    ]
    usage = sum_of(calls)
    assert (usage.calls, usage.open_calls, usage.input_tokens) == (2, 1, 58)


def test_no_ledger_has_no_calls(tmp_path: Path) -> None:
    """A run that called nobody has no file, and that is no error."""
    assert read_ledger(tmp_path / "usage.jsonl") == LedgerContents(())


@pytest.mark.parametrize(
    "garbage",
    [
        b"{}\n",
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\x00\n",
        lines(record("1")).replace(b'"input_tokens":10', b'"input_tokens":-10'),
        lines(record("1")).replace(b"0.01", b"1e400"),
        lines(record("1")).replace(b"0.01", b"NaN"),
        lines(record("1")).replace(b'"input_tokens":10', b'"input_tokens":' + b"9" * 40),
    ],
)
def test_lines_that_are_no_calls_are_passed_over_and_counted(
    garbage: bytes, tmp_path: Path
) -> None:
    """Neither nonsense nor numbers that no call has spoil the sums."""
    path = tmp_path / "usage.jsonl"
    path.write_bytes(lines(record("1")) + garbage + lines(record("2")))

    contents = read_ledger(path)

    assert [call.call_id for call in contents.calls] == ["1", "2"]
    assert contents.skipped >= 1
    assert not contents.is_torn


@given(st.binary(max_size=300))
def test_no_bytes_upset_the_reader(tail: bytes) -> None:
    """Whatever stands behind good lines, they are read."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"ledger-{os.getpid()}.jsonl"
    try:
        path.write_bytes(lines(record("1"), record("2")) + tail)
        assert [call.call_id for call in read_ledger(path).calls][:2] == ["1", "2"]
    finally:
        path.unlink()


def test_every_cut_of_a_ledger_loses_only_the_line_it_hits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A last line that stops short is said, left alone, and does not swallow the next one."""
    whole = lines(record("1", 30, "open"), record("1", 5))
    first = len(lines(record("1", 30, "open")))
    for cut in range(first + 1, len(whole), 17):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(whole[:cut])
        assert read_ledger(path).is_torn

        async def scenario(path: Path = path) -> None:
            async with Ledger(path) as ledger:
                ledger.take_up()
                assert ledger.usage().input_tokens == 30
                assert ledger.usage().open_calls == 1
                ledger.write(record("2", 7))

        with caplog.at_level(logging.WARNING):
            run(scenario())
        assert "stops short" in caplog.text
        assert [c.input_tokens for c in read_ledger(path).calls] == [30, 7]


def test_a_link_in_place_of_the_ledger_is_refused(tmp_path: Path) -> None:
    """The ledger is neither written nor read through a link."""
    (tmp_path / "elsewhere").write_bytes(lines(record("1")))
    (tmp_path / "usage.jsonl").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match=r"usage\.jsonl"):
        written(tmp_path / "usage.jsonl")
    with pytest.raises(OSError, match=r"usage\.jsonl"):
        read_ledger(tmp_path / "usage.jsonl")


def test_a_full_disk_does_not_stop_the_count(caplog: pytest.LogCaptureFixture) -> None:
    """Without room for the ledger the sums stay right, and the log says so."""
    with caplog.at_level(logging.WARNING):
        assert written(Path("/dev/full"), record("1", 10)).usage().input_tokens == 10
    assert "could not be noted" in caplog.text


def test_names_the_providers_request_id(tmp_path: Path) -> None:
    """The provider's own name for a call is kept, in one safe line."""

    async def scenario(provider: Provider) -> dict[str, object]:
        async with served(tmp_path, route_to(provider.url)) as it:
            await it.container.ask()
            return it.records()[0]

    with Provider() as provider:
        provider.play(Script(headers={"x-request-id": "req_1" * 99}))
        request_id = run(scenario(provider))["request_id"]
    assert isinstance(request_id, str)
    assert request_id.startswith("req_1")
    assert len(request_id) <= 128


def test_the_line_of_a_call_is_there_before_its_end_is_passed_on(
    provider: Provider, tmp_path: Path
) -> None:
    """Whoever has seen the last event of an answer finds the call settled on the disk."""

    async def scenario() -> None:
        async with served(tmp_path, route_to(provider.url)) as it:
            for _ in range(20):
                answer = await it.container.ask()
                assert answer.body.endswith(b"data: [DONE]\n\n")
                states = [call.state for call in read_ledger(it.ledger).calls]
                assert set(states) == {"settled"}

    run(scenario())


_GATEWAY = """
import asyncio, sys
from pathlib import Path
from tests.gateway.serving import route_to, served

async def main():
    async with served(Path(sys.argv[1]), route_to(sys.argv[2])) as it:
        print("ready", flush=True)
        await it.container.ask(messages=[{"role": "user", "content": "done"}])
        await it.container.ask(messages=[{"role": "user", "content": "held"}])

asyncio.run(main())
"""


def test_kill_9_loses_no_call_and_doubles_none(provider: Provider, tmp_path: Path) -> None:
    """A killed gateway leaves each call once: settled, or open with what was set aside for it."""
    provider.play(
        Script(
            rules=(
                Rule((Text("The answer."),), contains="done"),
                Rule((Hold("never", then=Text("no")),), contains="held"),
            )
        )
    )
    process = subprocess.Popen(
        [sys.executable, "-c", _GATEWAY, str(tmp_path), provider.url], stdout=subprocess.PIPE
    )
    try:
        provider.log.wait_for_requests(2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    contents = read_ledger(tmp_path / "usage.jsonl")

    assert [call.state for call in contents.calls] == ["settled", "open"]
    assert contents.skipped == 0
    assert contents.calls[1].input_tokens >= 100
    usage = sum_of(contents.calls)
    assert (usage.calls, usage.open_calls) == (2, 1)


def test_waiting_for_the_disk_holds_up_no_stream(tmp_path: Path) -> None:
    """The event loop goes on while the disk is waited for, and many lines share one wait."""

    async def scenario() -> int:
        turns = 0
        async with Ledger(tmp_path / "usage.jsonl") as ledger:
            for number in range(50):
                ledger.write(record(str(number)))
            waiting = asyncio.ensure_future(ledger.synced())
            while not waiting.done():
                turns += 1
                await asyncio.sleep(0)
            await waiting
        return turns

    assert run(scenario()) > 1
    assert len(read_ledger(tmp_path / "usage.jsonl").calls) == 50
