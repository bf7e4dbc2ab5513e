# shellcheck shell=bash
# Finds a Chromium for the browser tests, or installs one where that needs no question. Sourced after house.sh.

# Prints the program's path; fails where there is none.
antiphon_chromium_path() {
  local name
  for name in ${ANTIPHON_CHROMIUM:+"$ANTIPHON_CHROMIUM"} chromium chromium-browser google-chrome; do
    if command -v "$name"; then
      return 0
    fi
  done
  return 1
}

# Makes a Chromium exist: by the system's packages as root, otherwise it is a skip.
antiphon_chromium() {
  if antiphon_chromium_path >/dev/null; then
    say "Chromium: $(antiphon_chromium_path)"
    return 0
  fi
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "Chromium: installing the package chromium"
    if apt-get update -qq >&2 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >&2; then
      say "Chromium: $(antiphon_chromium_path)"
      return 0
    fi
  fi
  skip Chromium "apt-get install chromium"
}
