"""Find the credentials that a run's agents need. Runs on: host.

A variable is looked for in the environment, then in `.env` of the working directory, then in
`~/.config/massgen/.env`; after that `NAME_FILE`, found in the same places, may name a file. What
is in none of them is asked of the user's credential command, and then of the system keyring.
"""

import io
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, NoReturn

from runner.config.own_settings import own_settings
from runner.config.places import user_directory
from runner.config.providers import Provider, key_variables_for
from runner.config.secrets import REFERENCE
from runner.contract.text import one_line
from runner.errors import ConfigurationError
from runner.gateway.credential_command import CommandAnswer, ask_command
from runner.gateway.system_keyring import SERVICE, ask_keyring, is_keyring_installed

MAX_ENV_FILE_BYTES = 1024 * 1024
MAX_KEY_BYTES = 64 * 1024
_NO_REFERENCE = frozenset({"", "EMPTY"})
"""What configurations write for servers that need no key."""


class CredentialRequest(NamedTuple):
    """What one agent needs."""

    agent_id: str
    provider: Provider
    reference: str | None = None
    """`${NAME}` of the configuration; None: the provider's own variables."""
    base_url: str | None = None

    def variables(self) -> Sequence[str]:
        """Return the variables that may hold the credential, in order; none: it needs none."""
        if self.provider.auth == "none":
            return ()
        if self.reference is None or self.reference in _NO_REFERENCE:
            return key_variables_for(self.provider, self.base_url)
        match = REFERENCE.fullmatch(self.reference)
        if match is None:  # the configuration has been checked before; no value is repeated here
            raise ConfigurationError("api_key: not a reference: write ${NAME}")
        return (match.group(1),)


class MissingCredentialError(ConfigurationError):
    """No place has the credential."""


class Credential:
    """A secret and where it was found; the value is shown by `reveal` and by nothing else."""

    __slots__ = ("_value", "source", "variable")

    def __init__(self, value: str, *, variable: str, source: str) -> None:
        self._value = value
        self.variable = variable
        self.source = source
        """Where it was found, for people: "the environment", a file's path, …"""

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Credential({self.variable} from {self.source})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is neither pickled nor copied")


def load_credentials(
    requests: Iterable[CredentialRequest], *, environ: Mapping[str, str], cwd: Path
) -> dict[str, Credential | None]:
    """Return the credential of each agent, None for an agent that needs none.

    Raises ConfigurationError with one problem for each credential that is missing or unusable.
    """
    sources = CredentialSources(environ, cwd)
    found: dict[str, Credential | None] = {}
    problems: dict[str, list[str]] = {}
    for request in requests:
        try:
            found[request.agent_id] = sources.find(request)
        except ConfigurationError as error:
            for problem in error.problems:
                problems.setdefault(problem, []).append(request.agent_id)
    if problems:
        raise ConfigurationError(*(f"{', '.join(who)}: {what}" for what, who in problems.items()))
    return found


def secret_files(
    environ: Mapping[str, str], cwd: Path, env_files: Iterable[str] = ()
) -> tuple[Path, ...]:
    """Return the files in which credentials are looked for, whether they exist or not.

    `env_files` are those that a configuration names.
    """
    named = [
        cwd / _expand(value, environ)
        for name, value in environ.items()
        if name.endswith("_FILE") and value.strip()
    ]
    named += [cwd / _expand(name, environ) for name in env_files]
    return (cwd / ".env", *_user_file(environ), *named)


class CredentialSources:
    """The places where credentials are looked for; each is asked when it is needed, once."""

    def __init__(self, environ: Mapping[str, str], cwd: Path) -> None:
        self._environ = environ
        self._cwd = cwd
        self._files = (cwd / ".env", *_user_file(environ))
        self._read: dict[Path, Mapping[str, str]] = {}
        self._asked: dict[tuple[str, str], CommandAnswer] = {}

    def find(self, request: CredentialRequest) -> Credential | None:
        """Return what the request asks for, None where no credential is needed.

        Raises MissingCredentialError, or ConfigurationError where it is unusable.
        """
        variables = request.variables()
        if not variables:
            return None
        for look in (self._in_files, self._by_command, self._in_keyring):
            for variable in variables:
                credential = look(variable)
                if credential is not None:
                    return credential
        raise MissingCredentialError(self._missing(request.provider.name, variables))

    def named(self, variable: str, wanted_by: str) -> Credential:
        """Return the credential that a variable holds; `wanted_by` is for people.

        Raises MissingCredentialError, or ConfigurationError where it is unusable.
        """
        for look in (self._in_files, self._by_command, self._in_keyring):
            credential = look(variable)
            if credential is not None:
                return credential
        raise MissingCredentialError(self._missing(wanted_by, (variable,)))

    def file(self, name: str) -> Mapping[str, str]:
        """Return the variables in a file that a configuration names.

        Raises ConfigurationError where there is none, or it cannot be read.
        """
        path = self._cwd / _expand(name, self._environ)
        if not path.exists():
            raise ConfigurationError(f"env_file: {path} does not exist: correct the path")
        return self._variables_of(path)

    def _missing(self, provider: str, variables: Sequence[str]) -> str:
        names = " or ".join(variables)
        files = " or ".join(f"{name}_FILE" for name in variables)
        places = ["the environment", *map(str, self._files)]
        places += ["the credential command"] if self._command else []
        places += ["the system keyring"] if is_keyring_installed() else []
        reasons = {answer.reason for (_, name), answer in self._asked.items() if name in variables}
        why = "; ".join(sorted(reasons - {""}))
        return (
            f"no credential for {provider}: {names} is set neither in {', nor in '.join(places)}"
            f"{f' ({why})' if why else ''}: "
            f"set it in one of them, or name a file that holds it by {files}"
        )

    def _in_files(self, variable: str) -> Credential | None:
        value, source = self._lookup(variable)
        if value:
            return _checked(value, variable, source)
        path, named_in = self._lookup(f"{variable}_FILE")
        return self._from_file(variable, path, named_in) if path else None

    def _by_command(self, variable: str) -> Credential | None:
        if self._command is None:
            return None
        key = ("command", variable)
        if key not in self._asked:
            self._asked[key] = ask_command(self._command, variable, self._environ)
        source = f"the credential command ({one_line(self._command[0], 100)})"
        return _answered(self._asked[key], variable, source)

    def _in_keyring(self, variable: str) -> Credential | None:
        if not is_keyring_installed():
            return None
        key = ("keyring", variable)
        if key not in self._asked:
            self._asked[key] = ask_keyring(variable)
        return _answered(self._asked[key], variable, f"the system keyring ({SERVICE})")

    @cached_property
    def _command(self) -> Sequence[str] | None:
        return own_settings(self._environ).credential_command

    def _lookup(self, name: str) -> tuple[str, str]:
        value = self._environ.get(name, "").strip()
        if value:
            return value, "the environment"
        for path in self._files:
            value = self._variables_of(path).get(name, "").strip()
            if value:
                return value, str(path)
        return "", ""

    def _variables_of(self, path: Path) -> Mapping[str, str]:
        if path not in self._read:
            self._read[path] = _parse_env(path)
        return self._read[path]

    def _from_file(self, variable: str, name: str, named_in: str) -> Credential:
        path = self._cwd / _expand(name, self._environ)
        what = f"{variable}_FILE in {named_in}"
        text = _read_user_file(path, MAX_KEY_BYTES, what)
        if text is None:
            raise ConfigurationError(f"{what}: {path} does not exist: correct the path")
        value = text.strip()
        if not value:
            raise ConfigurationError(f"{what}: {path} is empty: put the key into it")
        return _checked(value, variable, str(path))


def _answered(answer: CommandAnswer, variable: str, source: str) -> Credential | None:
    return _checked(answer.value, variable, source) if answer.value else None


def _checked(value: str, variable: str, source: str) -> Credential:
    """Refuse what would break a header; the message does not show the value."""
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(
            f"{variable} from {source}: holds a line break, a control character or a character "
            "outside ASCII: copy the key again, on one line"
        )
    return Credential(value, variable=variable, source=source)


def _user_file(environ: Mapping[str, str]) -> tuple[Path, ...]:
    directory = user_directory(environ)
    return (directory / ".env",) if directory else ()


def _expand(name: str, environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME")
    if home and name.startswith("~/"):
        return Path(home) / name[2:]
    return Path(name)


def _parse_env(path: Path) -> Mapping[str, str]:
    text = _read_user_file(path, MAX_ENV_FILE_BYTES, "variables")
    if text is None:
        return {}
    from dotenv import dotenv_values

    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def _read_user_file(path: Path, max_bytes: int, what: str) -> str | None:
    """Return the text of a file of the user's, None where there is none; links are followed."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigurationError(f"{what}: {path} cannot be read: {reason}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode) and path.name == ".env":
            return None  # a Python environment is often called so
        if not stat.S_ISREG(mode):
            raise ConfigurationError(f"{what}: {path} is not a regular file: put a file there")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise ConfigurationError(f"{what}: {path} is larger than {max_bytes} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{what}: {path} is not UTF-8 (byte {error.start}): save it as UTF-8"
        ) from None  # the error would carry the content
