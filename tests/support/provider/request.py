"""One model call as the provider sees it, whichever dialect it came in. Runs on: host."""

import json
import re
from typing import Any, Literal, NamedTuple

Dialect = Literal["chat", "messages"]
Step = Literal["answer", "vote", "text"]
"""What the request lets the model do: answer only; vote (and mostly answer too); text only."""

_LABEL = re.compile(r"agent[1-9][0-9]*")
_AGENT_PATH = re.compile(r"/agents/([^/]+)/")


class ModelRequest(NamedTuple):
    dialect: Dialect
    path: str
    body: dict[str, Any]

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def agent(self) -> str | None:
        """The agent that the path names, as paths of the run socket do."""
        found = _AGENT_PATH.search(self.path)
        return found.group(1) if found else None

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """The JSON schema of each tool's arguments, by name."""
        if self.dialect == "messages":
            return {t["name"]: t.get("input_schema", {}) for t in self.body.get("tools") or []}
        functions = (t["function"] for t in self.body.get("tools") or [])
        return {f["name"]: f.get("parameters", {}) for f in functions}

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the whole answer must have, if one is asked for."""
        if self.dialect == "messages":
            form = (self.body.get("output_config") or {}).get("format")
            form = form or self.body.get("output_format") or {}
            return form.get("schema") if isinstance(form, dict) else None
        form = self.body.get("response_format") or {}
        return form["json_schema"]["schema"] if form.get("type") == "json_schema" else None

    @property
    def text(self) -> str:
        """All of the prompt as one text: system message, messages, results of tools."""
        prompt = [self.body.get("system"), self.body.get("messages")]
        return "\n".join(_texts(prompt))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of answers that can be voted for: those offered, else those in the prompt."""
        offered = _labels_in(self.tools.get("vote") or self.schema or {})
        if offered:
            return offered
        if "vote" in self.tools:
            return tuple(dict.fromkeys(re.findall(r"<(agent[1-9][0-9]*)>", self.text)))
        return ()

    @property
    def step(self) -> Step:
        if self.labels:
            return "vote"
        return "answer" if "new_answer" in self.tools or self.schema else "text"


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    if isinstance(value, dict):
        return [text for key, part in value.items() if key != "role" for text in _texts(part)]
    return []


def _labels_in(schema: dict[str, Any]) -> tuple[str, ...]:
    words = re.findall(r'"([^"\\]*)"', json.dumps(_enums(schema)))
    return tuple(dict.fromkeys(word for word in words if _LABEL.fullmatch(word)))


def _enums(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [found for part in value for found in _enums(part)]
    if not isinstance(value, dict):
        return []
    own = [value[key] for key in ("enum", "const") if key in value]
    return own + [found for part in value.values() for found in _enums(part)]
