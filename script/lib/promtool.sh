# shellcheck shell=bash
# Finds promtool, or unpacks it from Debian's package, and checks the alerts with it. Sourced after house.sh.
# The package is unpacked and never installed: it would start a Prometheus of its own.

# Prints the program's path; fails where there is none.
antiphon_promtool_path() {
  local name
  for name in ${ANTIPHON_PROMTOOL:+"$ANTIPHON_PROMTOOL"} promtool "$ANTIPHON_CACHE/prometheus/usr/bin/promtool"; do
    if command -v "$name"; then
      return 0
    fi
  done
  return 1
}

# Makes promtool exist, otherwise it is a skip.
antiphon_promtool() {
  if antiphon_promtool_path >/dev/null || unpack_debian prometheus prometheus; then
    say "promtool: $(antiphon_promtool_path)"
    return 0
  fi
  skip promtool "apt-get install prometheus (or name the program in ANTIPHON_PROMTOOL)"
}

# Checks the rules, then shows each alert firing and silent. Without promtool, bootstrap has counted the skip.
run_alerts() {
  local promtool
  promtool=$(antiphon_promtool_path) || return 0
  "$promtool" check rules deploy/prometheus/alerts.yml &&
    "$promtool" test rules deploy/prometheus/alerts_test.yml
}
