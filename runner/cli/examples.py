"""Examples under a command's help, each on a line of its own. Runs on: host."""


def examples(*lines: str) -> str:
    """Return an epilog that click does not fill into one paragraph."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(("\b", heading, *(f"  {line}" for line in lines)))
