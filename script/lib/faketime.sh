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

# Makes the library exist, otherwise it is a skip.
antiphon_faketime() {
  if antiphon_faketime_path >/dev/null || unpack_debian libfaketime faketime; then
    say "faketime: $(antiphon_faketime_path)"
    return 0
  fi
  skip libfaketime "apt-get install libfaketime (or name the library in ANTIPHON_FAKETIME)"
}
