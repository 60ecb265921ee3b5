"""What agents may reach beyond their models: hosts, services, raw credentials. Runs on: host."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from runner.config.address import address_mistake
from runner.config.egress_rules import EgressRules, RuleError, parse_rule, parse_rules
from runner.config.problems import shown
from runner.config.providers import PROVIDERS
from runner.config.secrets import REFERENCE, is_secret_name
from runner.config.service_rules import PathError, PathPattern, parse_pattern
from runner.config.values import ConfigPart, is_active, wrong

REFUSED = "refused"
BRIDGE = parse_rules(("*:443", "*:80"))
"""What `command_line_docker_network_mode: bridge` means without `raw_bridge`."""
MAX_RULES = 256
MODEL_KEYS = frozenset(name for row in PROVIDERS.values() for name in row.key_variables)
_SERVICE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
# What HTTP itself, or the runner, puts there.
_OWN_HEADERS = frozenset(
    ("host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect")
) | {"content-length", "transfer-encoding"}

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _rule(text: str) -> str:
    try:
        return str(parse_rule(text))
    except RuleError as error:
        raise wrong(str(error)) from error


def _service_name(name: str) -> str:
    if not _SERVICE_NAME.fullmatch(name):
        allowed = "a small letter, then at most 31 small letters, digits, _ or -"
        raise wrong(f"{shown(name)} is no name of a service (allowed: {allowed})")
    return name


def _distinct(services: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, str] = {}
    for name in services:
        other = first.setdefault(name.replace("-", "_"), name)
        if other != name:
            raise wrong(
                f"{name} and {other} would have one variable in the container", "rename one"
            )
    return services


def _address(url: str) -> str:
    mistake = address_mistake(url)
    if mistake:
        raise wrong(mistake, "write url: https://host or https://host/path")
    if "%" in url or "/." in url or "//" in url.partition("://")[2].rstrip("/"):
        raise wrong("has a path that can be read in two ways", "write it plainly")
    return url.rstrip("/")


def _pattern(text: str) -> str:
    try:
        return str(parse_pattern(text))
    except PathError as error:
        raise wrong(str(error)) from error


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise wrong(f"{shown(name)} is no name of a header")
    if name.lower() in _OWN_HEADERS:
        raise wrong(f"{name} is not for a configuration to set", "take it out")
    return name


def _header_value(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise wrong("has characters in it that no header has")
    if "${" in REFERENCE.sub("", value):
        raise wrong("has a broken reference in it", 'write "${NAME}"')
    return value


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    seen: set[str] = set()
    for name, value in headers.items():
        if name.lower() in seen:
            raise wrong(f"{name} stands twice", "capitals do not tell two headers apart")
        seen.add(name.lower())
        for variable in REFERENCE.findall(value):
            _check_reference(name, variable)
    return headers


def _check_reference(header: str, variable: str) -> None:
    if variable in MODEL_KEYS:
        raise model_key_error(variable)
    if not is_secret_name(header) and not is_secret_name(variable):
        raise wrong(
            f"{header}: neither the header nor {variable} is called as credentials are",
            "write the value itself, or name the variable …_TOKEN",
        )


def model_key_error(variable: str) -> PydanticCustomError:
    """Return the error for a model's key that is to go somewhere else."""
    return wrong(
        f"{variable} is a model's key, which goes to its provider only",
        "take it out: agents reach their models by a path of their own, without a key",
    )


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise wrong(f"{shown(name)} is no name of a variable")
    if name in MODEL_KEYS:
        raise model_key_error(name)
    return name


def _mode(value: Any) -> Any:
    if value == "host":
        raise wrong(
            "'host' would give the agent this machine's own network (allowed: none, bridge)",
            "list what it needs in runner.network.allow; for one port of this machine write "
            '"127.0.0.1:PORT" there',
        )
    return value


def _not_whole(value: Any) -> Any:
    return _refused(value, "your keys are among it: name the variables by env_vars")


def _not_mounted(value: Any) -> Any:
    remedy = (
        "let the host add the credential: see runner.services; files that agents are to read: "
        "orchestrator.context_paths"
    )
    return _refused(value, remedy)


def _refused(value: Any, remedy: str) -> None:
    if is_active(value):
        raise wrong("is not carried out: it would put your credentials into a container", remedy)


Rule = Annotated[str, Field(max_length=512), AfterValidator(_rule)]
_REFUSED = Field(json_schema_extra={"state": REFUSED})
Variable = Annotated[str, AfterValidator(_variable)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, Field(max_length=4096), AfterValidator(_header_value)]


class NetworkConfig(ConfigPart):
    """What the agents' containers may reach, through a proxy of the host's."""

    allow: Annotated[tuple[Rule, ...], Field(strict=False, max_length=MAX_RULES)] = ()
    """`HOST:PORT`: a name, an IP address (IPv6 in brackets), `*.example.net` or `*`; nothing by
    default. Addresses that are not public must be listed themselves."""
    raw_bridge: bool = False
    """Agents with `command_line_docker_network_mode: bridge` get the engine's own bridge: they
    reach your network and this machine's services, unfiltered and unlogged."""
    max_connections: Annotated[int, Field(ge=1, le=200)] = 64
    """Open connections of a run, of all its agents together."""
    max_megabytes: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """What a run may send and receive, of all its agents together; a megabyte is 10^6 bytes."""

    @property
    def rules(self) -> EgressRules:
        return parse_rules(self.allow)


class ServiceConfig(ConfigPart):
    """An HTTP service that agents reach by the host, which adds the credential."""

    url: Annotated[str, Field(max_length=2048), AfterValidator(_address)]
    """Where it is: `https://host`, with the path that all of its paths begin with."""
    headers: Annotated[
        dict[HeaderName, HeaderValue], Field(max_length=32), AfterValidator(_checked_headers)
    ] = Field(default_factory=dict)
    """Added to every request; `${NAME}` is a credential, looked up on the host as models' keys."""
    methods: Annotated[tuple[Method, ...], Field(strict=False, min_length=1)] = ("GET",)
    """What agents may do."""
    paths: Annotated[
        tuple[Annotated[str, AfterValidator(_pattern)], ...],
        Field(strict=False, min_length=1, max_length=256),
    ]
    """What agents may ask for, below `url`: `*` is one segment, `**` one or more."""

    @property
    def patterns(self) -> tuple[PathPattern, ...]:
        return tuple(map(parse_pattern, self.paths))

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that the headers refer to, each once."""
        return tuple(dict.fromkeys(v for h in self.headers.values() for v in REFERENCE.findall(h)))


Services = Annotated[
    dict[Annotated[str, AfterValidator(_service_name)], ServiceConfig],
    Field(max_length=64),
    AfterValidator(_distinct),
]
NetworkMode = Annotated[Literal["none", "bridge"], BeforeValidator(_mode)]


class RawCredentials(ConfigPart):
    """Variables put into the agent's container as they are: it can read and send them."""

    allow_raw: bool = False
    """You know that agents can read these credentials and send them wherever they may connect."""
    env_vars: Annotated[tuple[Variable, ...], Field(strict=False, max_length=64)] = ()
    """Names of variables, looked up as models' keys are; with `allow_raw` only."""
    env_file: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """A file of variables; with `allow_raw` only."""
    env_vars_from_file: Annotated[tuple[Variable, ...], Field(strict=False, max_length=64)] = ()
    """The only variables that are taken from `env_file`."""
    pass_all_env: Annotated[JsonValue, BeforeValidator(_not_whole), _REFUSED] = None
    """Refused: your whole environment has your keys in it."""
    mount: Annotated[JsonValue, BeforeValidator(_not_mounted), _REFUSED] = None
    """Refused: no file of your home directory is mounted."""
    additional_mounts: Annotated[JsonValue, BeforeValidator(_not_mounted), _REFUSED] = None
    """Refused: no file of your home directory is mounted."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that are named here."""
        return tuple(dict.fromkeys((*self.env_vars, *self.env_vars_from_file)))

    @property
    def is_used(self) -> bool:
        return bool(self.env_vars or self.env_file or self.env_vars_from_file)
