"""`ps`, `status`, `logs`, `stop` and `clean`, over stores in every condition."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

from runner.contract.status import status_schema
from runner.host.run_store import store_in
from tests.cli.stored_runs import stored_run
from tests.support.massgen import Completed, Project

HOSTILE_NAMES = ("../../etc", "/etc/passwd", "..", ".", "*", "%s%n", "x\ny", "\x1b[31m", "-" * 300)


def run(work: Project, *arguments: str) -> Completed:
    """Run a command of massgen-runner that must not fail badly."""
    done = work.massgen(*arguments, program="massgen-runner")
    assert "Traceback" not in done.stderr
    assert "internal" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_no_runs_here(command: str, work: Project) -> None:
    """Where no run was ever started, commands about one exit with 1 and say where they looked."""
    done = run(work, command)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert ".massgen/runs" in done.stderr
    assert "there is none" in done.stderr


def test_ps_without_runs(work: Project) -> None:
    """`ps` of nothing is a success: an empty list for machines, a sentence for people."""
    done = run(work, "ps")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "No run is alive here" in done.stderr
    assert run(work, "ps", "--json").stdout == "[]\n"


@pytest.mark.docker
def test_clean_without_runs(work: Project) -> None:
    """`clean --dry-run` of nothing is a success."""
    done = run(work, "clean", "--dry-run", "--json")
    assert done.exit_code == 0
    assert isinstance(json.loads(done.stdout), list)


def test_clean_without_engine(work: Project) -> None:
    """Without an engine `clean` says so and still closes the books of an abandoned run."""
    stored = stored_run(work.directory, ended=False)
    env = {"DOCKER_HOST": f"unix://{work.tmp}/no.sock"}
    done = work.massgen("clean", "--json", program="massgen-runner", env=env)
    assert done.exit_code == 0
    assert "Warning: containers are not looked for" in done.stderr
    assert json.loads(done.stdout) == [
        {"kind": "run", "name": stored.directory.run_id, "what": "closed"}
    ]
    status = json.loads(stored.log.status.read_bytes())
    assert status["meta"]["outcome"]["exit_code"] == 2


@pytest.mark.parametrize(
    ("command", "name"),
    [*(("status", name) for name in HOSTILE_NAMES), ("logs", "../../etc"), ("stop", "\x1b[31m")],
)
def test_hostile_names(command: str, name: str, work: Project) -> None:
    """No name reaches out of the store, and none is printed raw."""
    stored_run(work.directory)
    done = run(work, command, "--", name)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("part", ["id", "piece", "log", "log name"])
def test_names_of_a_run(part: str, work: Project) -> None:
    """A run is found by its id, a part of it, its log directory or that directory's name."""
    stored = stored_run(work.directory)
    name = {
        "id": stored.directory.run_id,
        "piece": stored.directory.run_id[-6:],
        "log": str(stored.log.root),
        "log name": stored.log.root.name,
    }[part]
    done = run(work, "status", name)
    assert done.exit_code == 0
    assert done.stdout.startswith(stored.directory.run_id)
    assert done.stdout.endswith("  execution (2): no agent could finish\n")


def test_ambiguous_name(work: Project) -> None:
    """A part that fits two runs is an error that says so."""
    stored_run(work.directory)
    stored_run(work.directory)
    done = run(work, "status", "-")
    assert done.exit_code == 1
    assert "2 match: give more of the id" in done.stderr


def test_ps(work: Project) -> None:
    """`ps --all` lists ended and abandoned runs, newest first, as text and as JSON."""
    old = stored_run(work.directory).directory.run_id
    new = stored_run(work.directory, ended=False, question="Two\nlines \x1b[31m").directory.run_id
    lines = run(work, "ps", "--all").stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted((old, new), reverse=True)
    rows = {row["run_id"]: row for row in json.loads(run(work, "ps", "-a", "--json").stdout)}
    assert (rows[old]["state"], rows[old]["exit_code"]) == ("exited", 2)
    assert (rows[new]["state"], rows[new]["exit_code"]) == ("abandoned", None)
    assert "\x1b" not in "".join(lines)
    assert len(lines) == 2


def test_status_json(work: Project) -> None:
    """`status --json` prints one line that fits the published schema, and is plain ASCII."""
    stored_run(work.directory, question="Größe \x9b31m \u202e?")
    done = run(work, "status", "--json")
    assert done.stdout.isascii()
    (line,) = done.stdout.splitlines()
    jsonschema.validate(json.loads(line), status_schema())


def test_status_follow_ends_with_the_runs_code(work: Project) -> None:
    """`status -f` of an ended run shows it once and exits with the run's own code."""
    stored_run(work.directory)
    done = run(work, "status", "-f")
    assert done.exit_code == 2
    assert "no agent could finish" in done.stdout


def test_status_follow_of_an_abandoned_run(work: Project) -> None:
    """`status -f` of a run whose supervisor is gone does not wait for ever."""
    stored_run(work.directory, ended=False)
    done = run(work, "status", "-f")
    assert done.exit_code == 2
    assert "supervisor is gone" in done.stderr


def spoiled(path: Path, how: str) -> None:
    """Replace a file by something that is no readable file."""
    path.unlink(missing_ok=True)
    match how:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/etc/passwd")
        case "directory":
            path.mkdir()
        case "garbage":
            path.write_bytes(b"\xff\xfe{\x00" * 100)
        case "other JSON":
            path.write_text('{"meta": []}')
        case _:
            return


@pytest.mark.parametrize("how", ["fifo", "link", "directory", "garbage", "other JSON", "missing"])
def test_spoiled_status(how: str, work: Project) -> None:
    """A status.json that is none is refused in one line, at once."""
    stored = stored_run(work.directory)
    spoiled(stored.log.status, how)
    done = run(work, "status")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "status.json: missing or not a status file" in done.stderr


@pytest.mark.parametrize(
    ("how", "arguments"),
    [
        *((how, ("status",)) for how in ("fifo", "link", "directory", "garbage", "missing")),
        *(("fifo", arguments) for arguments in (("logs",), ("stop",), ("ps", "--all"))),
    ],
)
def test_spoiled_record(how: str, arguments: tuple[str, ...], work: Project) -> None:
    """A record that is none is refused in one line, and `ps` passes over it."""
    stored = stored_run(work.directory)
    spoiled(stored.directory.record, how)
    done = run(work, *arguments)
    assert done.exit_code == (0 if arguments[0] == "ps" else 1)
    assert len(done.stderr.splitlines()) == 1


def test_logs(work: Project) -> None:
    """`logs` prints the debug log, or what one agent said, without control characters."""
    stored = stored_run(work.directory)
    stored.log.debug_log.write_bytes(b"one\n\x1b[31mtwo\xff\n")
    stored.log.agent_outputs.mkdir()
    stored.log.agent_output("agent_a").write_text("Größe → ok\n" * 20_000)
    assert run(work, "logs").stdout == "one\ntwo\ufffd\n"
    assert run(work, "logs", "--agent", "agent_a").stdout == "Größe → ok\n" * 20_000


def test_logs_follow_of_an_ended_run(work: Project) -> None:
    """`logs -f` of an ended run prints all of it and ends."""
    stored = stored_run(work.directory)
    stored.log.debug_log.write_text("all\n")
    done = run(work, "logs", "-f")
    assert (done.exit_code, done.stdout) == (0, "all\n")


def test_logs_before_anything_was_written(work: Project) -> None:
    """An agent that has said nothing yet is no error."""
    stored_run(work.directory)
    done = run(work, "logs", "--agent", "agent_a")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "Nothing was written yet.\n"


@pytest.mark.parametrize("name", ["nobody", "../../../etc/passwd", "", "x\x1b[31m"])
def test_logs_of_no_agent(name: str, work: Project) -> None:
    """A name that is no agent of the run is refused, with the names that are."""
    stored_run(work.directory)
    done = run(work, "logs", "--agent", name)
    assert done.exit_code == 1
    assert "it has agent_a" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("how", ["fifo", "link", "directory"])
def test_spoiled_log(how: str, work: Project) -> None:
    """A log that is no regular file is not read, and the command says so."""
    stored = stored_run(work.directory)
    spoiled(stored.log.debug_log, how)
    done = run(work, "logs")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "massgen.log" in done.stderr


def test_stop_of_an_ended_run(work: Project) -> None:
    """Stopping what has ended is no error."""
    stored = stored_run(work.directory)
    done = run(work, "stop")
    assert done.exit_code == 0
    assert done.stderr == f"{stored.directory.run_id} has ended already.\n"


def test_stop_of_an_abandoned_run(work: Project) -> None:
    """A run without a supervisor cannot be stopped; the message names what removes it."""
    stored_run(work.directory, ended=False)
    done = run(work, "stop")
    assert done.exit_code == 0
    assert "massgen-runner clean" in done.stderr


def test_stop_chooses_a_living_run(work: Project) -> None:
    """Without a name the newest run that is alive is stopped, not a newer one that has ended."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from runner.host.run_store import new_record, store_in\n"
        "with store_in(Path.cwd()).create() as new:\n"
        "    record = new_record(new, question='q', config_path=None, agents=())\n"
        "    new.directory.write_record(record)\n"
        "    print(new.run_id, flush=True)\n"
        "    time.sleep(600)\n"
    )
    (work.directory / "supervisor.py").write_text(script)
    with work.start("supervisor.py", program="python") as supervisor:
        alive = supervisor.wait_until(lambda: supervisor.output.stdout)
        stored_run(work.directory)
        done = run(work, "stop")
    assert done.exit_code == 0
    assert done.stderr == f"{alive.strip()} stopped.\n"
    assert len(store_in(work.directory).all()) == 2
