"""Identifiers of runs and agents. Runs on: both sides."""

import datetime as dt
import re
import secrets

RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
AGENT_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
LOG_NAME = re.compile(r"log_\d{8}_\d{6}_\d{6}")


def new_run_id(now: dt.datetime) -> str:
    """Return `YYYYMMDD-HHMMSS-<8 hex>`: sorts by time, unique over all directories of a machine."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def log_name(now: dt.datetime) -> str:
    """Return the log directory's name for an instant, microseconds included."""
    return f"log_{now:%Y%m%d_%H%M%S_%f}"


def is_run_id(text: str) -> bool:
    """Tell whether `text` has exactly the shape of a run id."""
    return RUN_ID.fullmatch(text) is not None


def is_agent_id(text: str) -> bool:
    """Tell whether `text` may name an agent, and so a file and a directory."""
    return AGENT_ID.fullmatch(text) is not None
