# What quickstart, test and check share: the Python environment. Sourced by sh, from the checkout.
# shellcheck shell=sh

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

lock=requirements/lock.txt
stamp=.venv/massgen-runner.stamp
oldest='import sys; sys.exit(sys.version_info < (3, 11))'

# Print the newest Python that will do: $PYTHON if it is set, else by name.
find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$oldest" 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or later is needed and not there: install it (Debian 12, Ubuntu 24.04:" \
        "apt-get install python3 python3-venv), or name one: PYTHON=/path/to/python3.12 $0"
}

# Debian keeps what makes virtual environments in a package of its own.
ensure_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "$1 cannot make virtual environments: as root, apt-get install $package"
    fi
    say "installing $package with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$package"; } >&2 ||
        fail "apt-get could not install $package: install it by hand"
}

# A copied or moved checkout, another Python or other requirements: another environment.
wanted_stamp() {
    { pwd; cat "$lock" pyproject.toml; .venv/bin/python -VV; } 2>/dev/null | sha256sum
}

is_ready() {
    [ -x .venv/bin/massgen ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_stamp)" ]
}

# Make .venv with the pinned requirements and this checkout in it; does nothing where it is ready.
make_environment() {
    if is_ready; then
        say "Python environment: .venv is ready"
        return
    fi
    command -v flock >/dev/null || fail "flock is needed: install util-linux"
    python=$(find_python)
    ensure_venv_module "$python"
    mkdir -p .venv
    # Two of these scripts at once: the second waits, and finds the work done.
    exec 9<.venv
    flock -n 9 || { say "another script is making .venv: waiting for it"; flock 9; }
    is_ready || fill_environment "$python"
    exec 9<&-
}

fill_environment() {
    rm -f "$stamp"
    if ! .venv/bin/python -c "$oldest; import pip" 2>/dev/null; then
        say "Python environment: making .venv with $1"
        "$1" -m venv --clear .venv || fail "$1 cannot make .venv: see above"
    fi
    count=$(grep -c '==' "$lock")
    say "Python environment: installing $count pinned packages into .venv (about 500 MB)"
    pip_install --require-hashes --no-deps -r "$lock"
    pip_install --no-deps --no-build-isolation --editable .
    wanted_stamp >"$stamp"
    say "Python environment: ready"
}

pip_install() {
    # -q twice: only errors; an index of the user's that lacks a package warns for each of them.
    .venv/bin/python -m pip --disable-pip-version-check --no-input install -q -q "$@" ||
        fail "pip could not install the requirements: check the connection to your package" \
            "index (.venv/bin/python -m pip config list) and run $0 again"
}

# Find an engine, or install and start one, and build the image where it is missing.
prepare_engine() {
    engine=$(.venv/bin/massgen-runner engine start)
    say "Container engine: $engine"
    image=$(.venv/bin/massgen-runner image build)
    say "Run image: $image"
}

prepare_model() {
    weights=$(.venv/bin/massgen-runner model download)
    say "Local model: $weights"
}

static_checks() {
    say "checking format, lint, types and imports"
    ruff format --check .
    ruff check .
    mypy
    lint-imports --no-logo
}
