# shellcheck shell=bash
# What every script shares: the place to stand, where cargo builds, and the words for steps and skips.
# Sourced, never run. A skip is said aloud and counted in ANTIPHON_SKIP_LOG; under CI=true it fails the script.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/antiphon-target}
export ANTIPHON_CACHE=${ANTIPHON_CACHE:-$HOME/.cache/antiphon}
if [ "${CI:-}" = true ]; then
  # Incremental files only pay when the same machine builds again.
  export CARGO_INCREMENTAL=0
fi

# Says what comes next, and with $2 how long it usually takes.
step() {
  printf '\n== %s%s\n' "$1" "${2:+ ($2)}" >&2
}

say() {
  printf '%s\n' "$*" >&2
}

# Ends the script with a reason.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Says that $1 is missing and how to install it ($2), and counts it.
skip() {
  local line="skipped: needs $1, install with $2"
  say "$line"
  count_skip "$line"
}

count_skip() {
  if [ -n "${ANTIPHON_SKIP_LOG:-}" ]; then
    printf '%s\n' "$1" >>"$ANTIPHON_SKIP_LOG"
  fi
  skips=$((${skips:-0} + 1))
}

# Succeeds when the version $1 is at least $2; both are numbers with dots.
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# Fetches Debian's package $1 with apt and unpacks it into the cache as $2; without root, apt's lists must be there.
unpack_debian() {
  local work folder=$ANTIPHON_CACHE/$2
  command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return
  if [ "$(id -u)" -eq 0 ]; then apt-get update -qq >&2 || return; fi
  mkdir -p "$ANTIPHON_CACHE" && work=$(mktemp -d "$folder-new.XXXXXX") || return
  # shellcheck disable=SC2015
  (cd "$work" && apt-get download -qq "$1") >&2 &&
    dpkg-deb -x "$work/$1"_*.deb "$work/files" &&
    rm -rf "$folder" &&
    mv "$work/files" "$folder" || { rm -rf "$work"; return 1; }
  rm -rf "$work"
}
