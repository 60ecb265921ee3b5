"""The provider table for the documentation. Runs on: host.

`python -m runner.config.describe_providers docs/reference/providers.md` writes it anew.
"""

import sys
from pathlib import Path

from runner.config.describe import BEGIN, END
from runner.config.providers import PROVIDERS, Auth, Provider

_AUTH: dict[Auth, str] = {
    "bearer": "`Authorization: Bearer`",
    "x-api-key": "`x-api-key`",
    "api-key": "`api-key`",
    "x-goog-api-key": "`x-goog-api-key`",
    "none": "none",
}
_ENDPOINTS = {"chat": "/chat/completions", "messages": "/messages"}


def providers_table() -> str:
    """Return one row for each provider, in Markdown."""
    head = ("`type`", "calls go to", "key, in this order", "it travels in", "decisions", "quirks")
    rows = [f"| {' | '.join(head)} | source |", "|---" * (len(head) + 1) + "|"]
    return "\n".join([*rows, *map(_row, PROVIDERS.values())])


def _row(row: Provider) -> str:
    endpoint = _ENDPOINTS[row.dialect]
    address = f"`{row.base_url}{endpoint}`" if row.base_url else f"`base_url` + `{endpoint}`"
    if row.name == "local":
        address = "the runner's own server"
    variables = ", ".join(f"`{name}`" for name in row.key_variables) or "none needed"
    if row.name == "chatcompletion":
        variables = "those of the provider whose address it is, else none needed"
    cells = [
        f"`{row.name}`",
        address,
        variables,
        _AUTH[row.auth],
        f"`{row.decision_mode}`",
        "; ".join(_quirks(row)),
        f"[docs]({row.source})",
    ]
    return f"| {' | '.join(cells)} |"


def _quirks(row: Provider) -> list[str]:
    quirks = [f"sends `{name}: {value}`" for name, value in row.headers.items()]
    quirks += [f"`{old}` goes out as `{new}`" for old, new in row.renames.items()]
    if not row.forced_tool_choice:
        quirks.append("a tool call cannot be forced")
    if row.dialect == "chat" and not row.stream_usage:
        quirks.append("reports usage without being asked")
    return quirks


def main(path: Path) -> None:
    """Write the table between the marks of a page."""
    before, rest = path.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{providers_table()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
