# shellcheck shell=bash
# Finds the two other browsers of the smoke run, or installs them where that needs no question. Sourced after house.sh.
# Firefox takes 81 MB to download and WebKitGTK 60 MB, half a minute together where packages come fast.

# Makes a browser exist: $1 its name, $2 its packages, $3 a function that finds it; otherwise it is a skip.
antiphon_browser() {
  local name=$1 packages=$2 find=$3
  if "$find"; then
    say "$name: here"
    return 0
  fi
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "$name: installing $packages"
    # shellcheck disable=SC2086
    if apt-get update -qq >&2 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2 && "$find"; then
      say "$name: installed"
      return 0
    fi
  fi
  skip "$name" "apt-get install $packages"
}

find_firefox() {
  [ -n "${ANTIPHON_FIREFOX:-}" ] || command -v firefox >/dev/null 2>&1 || command -v firefox-esr >/dev/null 2>&1
}

find_webkit() {
  command -v WebKitWebDriver >/dev/null 2>&1 && command -v Xvfb >/dev/null 2>&1
}

antiphon_other_browsers() {
  antiphon_browser Firefox firefox-esr find_firefox
  antiphon_browser "WebKitGTK's driver" "webkit2gtk-driver xvfb" find_webkit
}
