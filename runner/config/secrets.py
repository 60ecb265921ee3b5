"""Recognise credentials by their shape, so that none is kept in a file or a log. Runs on: host.

The shapes are the ones vendors publish for secret scanning. A key without a published shape (a
bare hexadecimal string) is recognised only by the name it stands under.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

REDACTED = "[redacted]"

# Words such as "sk-learn-classification" have the prefix too; a key has a digit in it.
_DIGIT = r"(?=[A-Za-z0-9_-]{0,200}\d)"
_SHAPES = (
    rf"sk-{_DIGIT}[A-Za-z0-9_-]{{16,}}",  # OpenAI, Anthropic sk-ant-, OpenRouter sk-or-, DeepSeek
    rf"(?:xai-|gsk_|csk-|fw_|pplx-|tgp_v1_|tvly-|nvapi-){_DIGIT}[A-Za-z0-9_-]{{16,}}",
    r"AIza[A-Za-z0-9_-]{30,}",  # Google
    r"AQ\.[A-Za-z0-9_-]{30,}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"GOCSPX-[A-Za-z0-9_-]{20,}",
    r"gh[pousr]_[A-Za-z0-9]{30,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,}",
    rf"glpat-{_DIGIT}[A-Za-z0-9_-]{{16,}}",
    rf"hf_{_DIGIT}[A-Za-z0-9]{{20,}}",
    rf"r8_{_DIGIT}[A-Za-z0-9]{{30,}}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",  # AWS
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgEI[A-Za-z0-9_-]{20,}",
    r"[0-9a-f]{32}\.[A-Za-z0-9]{16}",  # Z.AI
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",  # JSON Web Token
)
_EDGE = r"(?<![A-Za-z0-9_-])"
_WORD = re.compile(rf"{_EDGE}(?:{'|'.join(_SHAPES)})")
_BEARER = re.compile(
    r"(?<=\bbearer )(?=[A-Za-z0-9._~+/-]{0,200}\d)[A-Za-z0-9._~+/-]{16,}=*", re.IGNORECASE
)
# The body ends at the next five dashes, so that many beginnings are not each searched to the end.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
    r"(?:[^-]*(?:-(?!----)[^-]*)*-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)
_USERINFO = re.compile(r"(?<=://)[^/\s:@?#]{0,256}:[^/\s@?#]{1,256}(?=@)")
_QUERY = re.compile(
    r"(?<=[?&])((?:api[-_]?|access[-_]?|auth[-_]?)?(?:key|token|secret|sig|signature|password)=)"
    r"(?!\$\{|\[)[^&\s#]{6,}",
    re.IGNORECASE,
)
_PATTERNS = (_WORD, _BEARER, _PRIVATE_KEY, _USERINFO, _QUERY)

_SECRET_NAME = re.compile(
    r"(?:^|[-_.])(?:api[-_]?key|apikey|access[-_]?key|token|secret|passw(?:or)?d|authorization"
    r"|private[-_]?key|client[-_]?secret)(?:$|[-_.])",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""`${NAME}`: the value of an environment variable, looked up when the run starts."""


def looks_secret(text: str) -> bool:
    """Tell whether a well-known kind of credential stands anywhere in `text`."""
    return any(pattern.search(text) for pattern in _PATTERNS)


def redact(text: str) -> str:
    """Return `text` with every recognised credential replaced by `[redacted]`."""
    for pattern in _PATTERNS:
        text = pattern.sub(
            lambda match: (match.group(1) if match.re is _QUERY else "") + REDACTED, text
        )
    return text


def is_secret_name(name: str) -> bool:
    """Tell whether a value under this name is a credential: API_TOKEN, Authorization, apiKey."""
    return _SECRET_NAME.search(_CAMEL.sub("_", name)) is not None


def literal_secrets(data: Any) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every credential that stands in parsed data itself, keys included."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if looks_secret(str(key)) or _is_named_secret(str(key), value):
                yield (key,)
            else:
                yield from ((key, *path) for path in literal_secrets(value))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from ((index, *path) for path in literal_secrets(value))
    elif isinstance(data, str) and looks_secret(data):
        yield ()


def _is_named_secret(name: str, value: Any) -> bool:
    if not isinstance(value, str) or not is_secret_name(name):
        return False
    rest = REFERENCE.sub("", value)
    return bool(rest) and rest.lower().strip() not in {"bearer", "basic", "token", "empty", ""}
