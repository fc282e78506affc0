#!/bin/sh
# Make .venv with the first Python that will do; what is missing is named in one line.
set -eu
missing() { echo "make setup: $1" >&2; exit 1; }

command -v git > /dev/null || missing "git is missing (Debian, Ubuntu: apt-get install git)"
if .venv/bin/python -m pip --version > /dev/null 2>&1; then exit 0; fi

seen=none
for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) || continue
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        seen="only $version"
    elif ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
        seen="$version without venv (Debian, Ubuntu: apt-get install python$version-venv)"
    else
        echo "making .venv with Python $version"
        exec "$python" -m venv --clear .venv
    fi
done
missing "Python 3.11 or newer, with venv, is missing; found: $seen"
