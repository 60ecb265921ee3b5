# The run image: what one run's container consists of. See images/run/README.md.
#
# Built by `massgen-runner image build` from a context that holds, besides this file, the wheels for
# the base's Python (wheels/), images/run/requirements.txt and the container's side of the package
# (src/runner/). No step needs a network, and nothing here needs BuildKit, so that the builders of
# Docker 20.10, of later versions and of Podman all do.

# Any glibc system with Python 3.11 or later. Where this default cannot be pulled, a base is made
# from Debian packages: see images/base/README.md.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
# The label makes the stage findable: the classic builder keeps it as an image without a name.
LABEL dev.runner.image=build
COPY images/run/requirements.txt /build/requirements.txt
COPY wheels /build/wheels
# pip works from a virtual environment of its own, so that the one that is shipped has none.
# Bytecode is compiled here because the root file system is read-only at run time; it is not checked
# against the source's times, which saves a look at each file on every start.
RUN python3 -m venv --without-pip /opt/runner/venv \
 && python3 -m venv /build/pip \
 && /build/pip/bin/python -m pip --python /opt/runner/venv/bin/python install --quiet \
      --no-index --find-links /build/wheels --require-hashes --only-binary :all: --no-compile \
      --disable-pip-version-check --no-cache-dir --root-user-action ignore \
      --requirement /build/requirements.txt \
 && echo /opt/runner/src > "$(echo /opt/runner/venv/lib/python3*/site-packages)/runner.pth" \
 && /opt/runner/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      /opt/runner/venv/lib

FROM ${BASE_IMAGE}
LABEL dev.runner.image=run \
      org.opencontainers.image.title="massgen-runner run image" \
      org.opencontainers.image.description="The container's side of a MassGen-style multi-agent run" \
      org.opencontainers.image.licenses="Apache-2.0"
# Official Python images come without bytecode of the standard library; a base from Debian packages
# has it already, and this does nothing.
RUN python3 -c "import sysconfig; print(sysconfig.get_path('stdlib'))" \
  | xargs python3 -m compileall -q -j 0 -x '/(test|tests|idlelib|tkinter|turtledemo|lib2to3|dist-packages|site-packages)/'
# Agents look for `python` first; Debian has `python3` only.
RUN command -v python >/dev/null || ln -s python3 /usr/local/bin/python
COPY --from=build /opt/runner/venv /opt/runner/venv
ENV LANG=C.UTF-8 HOME=/tmp
WORKDIR /
# -P keeps the working directory, which agents write, off the module path. Flags and not variables,
# so that programs started by agents do not inherit them.
ENTRYPOINT ["/opt/runner/venv/bin/python", "-P", "-B", "-u", "-m", "runner.coordination"]
# The source comes last: an edit rebuilds these steps only.
COPY src /opt/runner/src
RUN /opt/runner/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/runner/src
# A run's container gets the caller's user instead; this is for whoever starts the image by hand.
USER 65532:65532
