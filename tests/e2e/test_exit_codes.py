"""What a run makes of a provider's faults: the exit code, the reason, the agent's error.

Runs on: host.
"""

import pytest

from runner.contract.outcome import ExitCode
from runner.contract.status import AgentErrorType, AgentState, AgentStatus
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import (
    FIRST,
    BrokenArguments,
    CloseAfter,
    Endless,
    Garbage,
    Html,
    NewAnswer,
    Provider,
    Raw,
    RefuseConnection,
    Reply,
    Rule,
    Script,
    Silence,
    Status,
    StreamError,
    Text,
    ToolCall,
    ToolCalls,
    Vote,
    forever,
)

pytestmark = pytest.mark.docker

AUTHENTICATION, RATE_LIMIT, PROVIDER, PROTOCOL, TIMEOUT = (
    {AgentErrorType.AUTHENTICATION},
    {AgentErrorType.RATE_LIMIT},
    {AgentErrorType.PROVIDER},
    {AgentErrorType.PROTOCOL},
    {AgentErrorType.TIMEOUT},
)
BAD_STREAM = PROVIDER | PROTOCOL

LONG = "and so on, " * 20_000
FAULTS: dict[str, tuple[Reply, set[AgentErrorType]]] = {
    "400": (forever(400), PROVIDER),
    "401": (forever(401), AUTHENTICATION),
    "403": (forever(403), AUTHENTICATION),
    "404": (forever(404), PROVIDER),
    "429": (forever(429, Retry_After="0"), RATE_LIMIT),
    "500": (forever(500), PROVIDER),
    "529": (forever(529), PROVIDER | RATE_LIMIT),
    "reset": (RefuseConnection(), PROVIDER),
    "silent": (Silence(), PROVIDER | TIMEOUT),
    "silent in the middle": (Silence(after_chunks=2), PROVIDER | TIMEOUT),
    "half an answer": (CloseAfter(3), BAD_STREAM),
    "error in the stream": (StreamError("Overloaded"), BAD_STREAM | RATE_LIMIT),
    "garbage": (Garbage(), BAD_STREAM),
    "garbage events": (Garbage(b"data: }{ not json\n\n"), BAD_STREAM),
    "garbage JSON": (Garbage(b'{"choices": 7}', "application/json"), BAD_STREAM),
    "web page": (Html(), BAD_STREAM),
    "no HTTP": (Raw(b"SSH-2.0-OpenSSH_9.2\r\n"), PROVIDER),
    "endless": (Endless(chunk=LONG), BAD_STREAM),
    "endless line": (Endless(lines=False, chunk=LONG), BAD_STREAM),
    "broken arguments": (BrokenArguments(), PROTOCOL),
    "unknown tool": (ToolCalls((ToolCall("rm_rf", "{}"),)), PROTOCOL),
    "arguments no object": (ToolCalls((ToolCall("new_answer", "[1]"),)), PROTOCOL),
    "several tools": (
        ToolCalls((ToolCall("new_answer", '{"content": "a"}'), ToolCall("vote", "{}"))),
        PROTOCOL,
    ),
    "vote for nobody": (Vote(""), PROTOCOL),
    "vote without an answer": (Vote("agent2"), PROTOCOL),
    "empty answer": (NewAnswer(""), PROTOCOL),
    "only white space": (NewAnswer(" \n\t "), PROTOCOL),
    "nothing": (Text(""), PROTOCOL),
    "no decision": (Text("I would rather not decide."), PROTOCOL),
}
NEVER_RETRIED = {"400", "401", "403", "404"}
RETRIED = {"429", "500", "529"}


@pytest.mark.parametrize("fault", ["401", "silent", "web page", "endless", "no decision"])
def test_every_agent_fails(
    project: Project, provider: Provider, engine_view: EngineView, fault: str
) -> None:
    """A fault that hits every agent ends in 2, with each agent's error and its type."""
    reply, types = FAULTS[fault]
    provider.always(reply)
    project.write_config(provider.url)
    done = project.answer()
    status = assert_ended(done, ExitCode.EXECUTION, engine_view, project)
    assert {_error_type(state) for state in status.agents.values()} <= types
    assert status.results.winner is None
    assert done.said["ERROR"].startswith("execution:")


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("part", range(4))
def test_each_agent_fails_in_its_own_way(
    project: Project, provider: Provider, engine_view: EngineView, part: int, dialect: str
) -> None:
    """Agents side by side, each with a fault of its own: each error is true."""
    faults = dict(list(FAULTS.items())[part::4])
    agents = {f"agent{number}x": fault for number, fault in enumerate(faults)}
    rules = [Rule((faults[fault][0],), model=f"model-{agent}") for agent, fault in agents.items()]
    provider.play(Script(rules=tuple(rules)))
    backend = {"type": "claude", "api_key": "${TEAM_KEY}"} if dialect == "messages" else {}
    project.write_config(provider.url, agents=list(agents), backend=backend)
    done = project.answer(env={"TEAM_KEY": "team-key"})
    status = assert_ended(done, ExitCode.EXECUTION, engine_view, project)
    wrong = {
        fault: status.agents[agent].error
        for agent, fault in agents.items()
        if _error_type(status.agents[agent]) not in faults[fault][1]
    }
    assert wrong == {}
    for agent, fault in agents.items():
        calls = len(provider.log.matching(model=f"model-{agent}"))
        assert fault not in NEVER_RETRIED | RETRIED or calls == (1 if fault in NEVER_RETRIED else 2)


def _error_type(state: AgentState) -> AgentErrorType | None:
    return state.error.type if state.error else None


@pytest.mark.parametrize("fault", ["401", "500", "silent", "broken arguments", "no decision"])
def test_one_of_three_fails(
    project: Project, provider: Provider, engine_view: EngineView, fault: str
) -> None:
    """One agent's fault leaves the run a success, and is told in that agent's error."""
    reply, types = FAULTS[fault]
    provider.always(reply, model="model-agent_b")
    project.write_config(provider.url, agents=["agent_a", "agent_b", "agent_c"])
    done = project.answer()
    status = assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    failed = status.agents["agent_b"]
    assert failed.error is not None
    assert failed.error.type in types
    assert failed.status in {AgentStatus.ERROR, AgentStatus.TIMEOUT}
    assert status.results.winner in {"agent_a", "agent_c"}
    assert status.agents["agent_a"].error is None


def test_refused_connection(
    project: Project, refused_provider_url: str, engine_view: EngineView
) -> None:
    """A port where nobody listens ends in 2 with an error of type provider."""
    project.write_config(refused_provider_url)
    status = assert_ended(project.answer(), ExitCode.EXECUTION, engine_view, project)
    error = status.agents["agent_a"].error
    assert error is not None
    assert error.type is AgentErrorType.PROVIDER


@pytest.mark.parametrize("reply", [Status(429, times=1), Status(503, times=1), RefuseConnection()])
def test_passing_fault(
    project: Project, provider: Provider, engine_view: EngineView, reply: Reply
) -> None:
    """A fault that passes is tried again and leaves no error."""
    rule = Rule((reply,), model="model-agent_a", last_repeats=False)
    provider.play(Script(rules=(rule,)))
    project.write_config(provider.url)
    status = assert_ended(project.answer(), ExitCode.SUCCESS, engine_view, project)
    assert status.agents["agent_a"].error is None


@pytest.mark.parametrize("label", ["agent7", "nobody", "agent_a", "../../etc"])
def test_wrong_vote_put_right(
    project: Project, provider: Provider, engine_view: EngineView, label: str
) -> None:
    """A vote for nobody that has an answer is refused; told so, the agent votes again."""
    votes = Rule((Vote(label), Vote(FIRST)), model="model-agent_a", step="vote")
    provider.play(Script(rules=(votes,)))
    project.write_config(provider.url)
    status = assert_ended(project.answer(), ExitCode.SUCCESS, engine_view, project)
    assert set(status.results.votes) <= {"agent1.1", "agent2.1"}
    assert status.agents["agent_a"].error is None


def test_vote_for_oneself(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """Each may vote for its own answer; the tie goes to the one given first."""
    answers = ("Apples and pears.", "Something else entirely, with other words.")
    rules = []
    for number, agent in enumerate(("agent_a", "agent_b")):
        model = f"model-{agent}"
        rules.append(Rule((NewAnswer(answers[number]),), model=model, step="answer"))
        rules.append(Rule((Vote(f"agent{number + 1}"),), model=model, step="vote"))
    provider.play(Script(rules=tuple(rules)))
    project.write_config(provider.url)
    status = assert_ended(project.answer(), ExitCode.SUCCESS, engine_view, project)
    for agent, state in status.agents.items():
        if state.answer_count:
            assert state.vote_cast is not None
            assert state.vote_cast.voted_for_agent == agent


@pytest.mark.parametrize("fault", ["500", "half an answer", "nothing"])
def test_presentation_fails(
    project: Project, provider: Provider, engine_view: EngineView, fault: str
) -> None:
    """Where the presentation fails for good, the winner's answer is the final one."""
    provider.play(Script(rules=(Rule((FAULTS[fault][0],), step="text"),)))
    project.write_config(provider.url)
    done = project.answer()
    status = assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    winner = status.results.winner
    assert done.log.final_answer(winner or "").read_text() == f"The answer of model-{winner}."


def test_agent_out_of_time(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """An agent whose model hangs gets status timeout; the others finish."""
    provider.always(Silence(), model="model-agent_b")
    project.write_config(
        provider.url,
        runner={"stall_timeout_seconds": 60},
        timeout_settings={"agent_timeout_seconds": 2},
    )
    status = assert_ended(project.answer(), ExitCode.SUCCESS, engine_view, project)
    late = status.agents["agent_b"]
    assert late.status is AgentStatus.TIMEOUT
    assert late.error is not None
    assert late.error.type is AgentErrorType.TIMEOUT


def test_run_out_of_time(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """Models that hang until the orchestrator's time is over: exit 3."""
    provider.always(Silence())
    project.write_config(provider.url, runner={"stall_timeout_seconds": 60})
    done = project.answer("Why?", "--orchestrator-timeout", "2")
    status = assert_ended(done, ExitCode.TIMEOUT, engine_view, project)
    assert status.results.winner is None
    assert done.said["ERROR"].startswith("timeout:")


def test_best_answer_so_far(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """Out of time with an answer there: exit 3, and the answer is on disk."""
    hang = (
        Rule((Silence(),), model="model-agent_b"),
        Rule((Silence(),), step="vote"),
    )
    provider.play(Script(rules=hang))
    project.write_config(
        provider.url,
        runner={"stall_timeout_seconds": 60},
        timeout_settings={"orchestrator_timeout_seconds": 4},
    )
    done = project.answer()
    status = assert_ended(done, ExitCode.TIMEOUT, engine_view, project)
    assert not status.meta.is_complete
    assert status.results.final_answer_preview == "The answer of model-agent_a."
    (snapshot,) = (done.log_dir / "agent_a").glob("*/answer.txt")
    assert snapshot.read_text() == "The answer of model-agent_a."
