"""An MCP server that misbehaves as its tools and arguments say; it needs no SDK. Runs on: host.

`python odd_mcp_server.py [silent | dying | chatty | unlistable | crowded]`, or with nothing: a
server that starts well.
"""

import json
import os
import sys
import time
from typing import Any

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg"
    "=="
)
NO_ARGUMENTS = {"type": "object", "properties": {}}


def bomb() -> dict[str, Any]:
    """A small schema that is 2 to the 30th parts where its references are written out."""
    definitions = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(30)
    }
    return {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/d0"}},
        "$defs": {**definitions, "d30": {"type": "string"}},
    }


def nested(depth: int) -> dict[str, Any]:
    """A schema as deep as it is told to be."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


TREE = {
    "type": "object",
    "properties": {"node": {"$ref": "#/$defs/node"}},
    "$defs": {
        "node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}},
    },
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "bomb": bomb(),
    "deep": nested(60),
    "elsewhere": {"type": "object", "properties": {"x": {"$ref": "https://example.org/a"}}},
    "nonsense": {"type": "object", "properties": {"x": {"type": "nonsense"}}},
    "enormous": {"type": "object", "properties": {f"p{n}": {} for n in range(20_000)}},
    "wordy": {"type": "object", "properties": {"x": {"description": "x" * 100_000}}},
    "tree": TREE,
}
SHOWN = [
    {"type": "text", "text": "a picture:"},
    {"type": "image", "data": PNG, "mimeType": "image/png"},
    {"type": "image", "data": PNG, "mimeType": "image/svg+xml"},
    {"type": "image", "data": "no base64!", "mimeType": "image/png"},
    {"type": "audio", "data": PNG, "mimeType": "audio/wav"},
    {"type": "resource", "resource": {"uri": "note://1", "text": "a note"}},
    {"type": "resource", "resource": {"uri": "blob://1", "blob": PNG}},
    {"type": "resource_link", "uri": "link://1", "name": "a link"},
]
RESULTS: dict[str, dict[str, Any]] = {
    "show": {"content": SHOWN},
    "fail": {"content": [{"type": "text", "text": "it did not work"}], "isError": True},
    "describe": {"content": [], "structuredContent": {"degrees": 21}},
    "lie": {"content": "no list"},
}
TOOLS: tuple[str, ...] = (
    "echo",
    "show",
    "fail",
    "describe",
    "whisper",
    "hang",
    "die",
    "flood",
    "storm",
)
TOOLS += ("shout", "babble", "endless", "interrogate", "lie", "environment", "odd name", "odd.name")


def say(message: dict[str, Any]) -> None:
    """Send a message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(value: str) -> dict[str, Any]:
    """Return a result that is one text."""
    return {"content": [{"type": "text", "text": value}]}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Carry a call out, in the odd way that the tool's name says."""
    if name in RESULTS:
        return RESULTS[name]
    size = int(arguments.get("size", 0))
    if name == "flood":
        return text("begin" + "x" * size + "end")
    if name == "environment":
        return text(json.dumps({"cwd": os.getcwd(), **os.environ}))
    disturb(name, size)
    return text(f"{name}: {json.dumps(arguments)}")


def disturb(name: str, size: int) -> None:
    """Do what a server should not do before it answers."""
    match name:
        case "hang":
            time.sleep(3600)
        case "die":
            print("I am dying", file=sys.stderr, flush=True)
            os._exit(3)
        case "storm":
            for number in range(size):
                params = {"level": "info", "data": f"number {number}"}
                say({"method": "notifications/message", "params": params})
        case "shout" | "endless":
            for _ in range(size // 65_536):
                os.write(2 if name == "shout" else 1, b"S" * 65_536)
        case "babble":
            for number in range(size):
                sys.stdout.write(f"this is no message {number}\n")
        case "interrogate":
            for number in range(size):
                say({"id": f"q{number}", "method": "ping"})
        case _:
            pass


def answer(method: str, params: dict[str, Any], mode: str) -> dict[str, Any]:
    """Return the result of a request."""
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
            "instructions": "Call \x1b[31mecho\x1b[0m first.",
        }
    if method == "tools/list":
        if mode == "unlistable":
            return {"tools": [{"name": 1}]}
        if mode == "crowded":
            tools = [{"name": f"t{n}", "inputSchema": NO_ARGUMENTS} for n in range(150)]
            return {"tools": tools}
        schemas = dict.fromkeys(TOOLS, NO_ARGUMENTS) | SCHEMAS
        return {
            "tools": [
                {"name": name, "description": f"Does {name}.", "inputSchema": schema}
                for name, schema in schemas.items()
            ]
        }
    return call(params["name"], params.get("arguments") or {})


def main(mode: str) -> None:
    """Answer until stdin is closed."""
    if mode == "dying":
        sys.exit("cannot find my settings")
    if mode == "silent":
        time.sleep(3600)
    if mode == "chatty":
        print("Welcome to the odd server!", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "method" not in message or "id" not in message:
            continue
        if message["method"] not in {"initialize", "tools/list", "tools/call"}:
            say({"id": message["id"], "error": {"code": -32601, "message": "not found"}})
            continue
        result = answer(message["method"], message.get("params") or {}, mode)
        say({"id": message["id"], "result": result})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
