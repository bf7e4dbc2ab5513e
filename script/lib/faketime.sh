# shellcheck shell=bash
# Finds libfaketime, by which tests step the clock of a server, or unpacks it from Debian's package. Sourced after house.sh.
# The package is unpacked and never installed: nothing but those tests may see another time.

# Prints the library's path; fails where there is none.
antiphon_faketime_path() {
  local found
  for found in ${ANTIPHON_FAKETIME:+"$ANTIPHON_FAKETIME"} /usr/lib/*/faketime/libfaketime.so.1 \
    "$ANTIPHON_CACHE"/faketime/usr/lib/*/faketime/libfaketime.so.1; do
    if [ -r "$found" ]; then
      printf '%s\n' "$found"
      return 0
    fi
  done
  return 1
}

# Fetches the package with apt and unpacks it into the cache; without root, apt's lists must be there.
antiphon_faketime_fetch() {
  local work
  command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return
  if [ "$(id -u)" -eq 0 ]; then apt-get update -qq >&2 || return; fi
  mkdir -p "$ANTIPHON_CACHE" && work=$(mktemp -d "$ANTIPHON_CACHE/faketime-new.XXXXXX") || return
  # shellcheck disable=SC2015
  (cd "$work" && apt-get download -qq libfaketime) >&2 &&
    dpkg-deb -x "$work"/libfaketime_*.deb "$work/files" &&
    rm -rf "$ANTIPHON_CACHE/faketime" &&
    mv "$work/files" "$ANTIPHON_CACHE/faketime" || { rm -rf "$work"; return 1; }
  rm -rf "$work"
}

# Makes the library exist, otherwise it is a skip.
antiphon_faketime() {
  if antiphon_faketime_path >/dev/null || antiphon_faketime_fetch; then
    say "faketime: $(antiphon_faketime_path)"
    return 0
  fi
  skip libfaketime "apt-get install libfaketime (or name the library in ANTIPHON_FAKETIME)"
}
