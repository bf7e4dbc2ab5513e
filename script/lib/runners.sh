# shellcheck shell=bash
# Runs the tests and adds up what their runners say. Sourced after house.sh.
# Plain `cargo test`: tests of one program share their Postgres clusters, which a process for each test could not
# (measured: five minutes instead of twenty on two cores). A run that hangs is ended, and counts as failed.

passed=0
failed=0
ignored=0
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
: "${ANTIPHON_SKIP_LOG:=$runs/skips}"
export ANTIPHON_SKIP_LOG
: >"$ANTIPHON_SKIP_LOG"

# Runs a test runner ($2 ...), shows and keeps its output under the name $1, and adds up its counts.
run_counted() {
  local log=$runs/$1.log status=0 counts
  shift
  "$@" 2>&1 | tee "$log" || status=$?
  counts=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
    function number(word) { return match($0, "[0-9]+ " word) ? substr($0, RSTART, RLENGTH) + 0 : 0 }
    # A helper process of another test is no test that was left out.
    /^test .* ignored, run by another test/ { s -= 1 }
    /^test result:/    { p += number("passed"); f += number("failed"); s += number("ignored") }
    /^# pass [0-9]+$/  { p += $3 }
    /^# fail [0-9]+$/  { f += $3 }
    /^# cancelled [0-9]+$/ { f += $3 }
    /^# skipped [0-9]+$/ { s += $3 }
    END { print p + 0, f + 0, s + 0 }')
  local p f s
  read -r p f s <<<"$counts"
  # A runner that fails without naming a test, as when the code does not compile, is a failure all the same.
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  passed=$((passed + p)) failed=$((failed + f)) ignored=$((ignored + s))
  return "$status"
}

# Runs the unit and integration tests of the packages that the options ($@) choose.
run_tests() {
  run_counted tests timeout --kill-after=30 2400 cargo test --locked --no-fail-fast --tests "$@"
}

# Runs the examples in the documentation of every library.
run_doc_tests() {
  run_counted doc-tests cargo test --locked --no-fail-fast --workspace --doc
}

# Builds the SDK over the core that `run_wasm` built, and runs its tests that need no browser.
# Without Node, bootstrap has counted the skip; without the core, run_wasm has.
run_sdk() {
  local status=0 newer
  command -v node >/dev/null 2>&1 || return 0
  [ -f packages/client/core/core.js ] || return 0
  antiphon_sdk || status=$?
  if [ "$status" -eq 3 ]; then
    [ "${CI:-}" != true ]
    return
  fi
  [ "$status" -eq 0 ] || return 1
  newer=$(antiphon_node24) || newer=
  ANTIPHON_NODE=$newer ANTIPHON_TSC=$(antiphon_sdk_tools)/tsc run_counted sdk node --test --test-reporter=tap packages/*/tests/
}

# Runs the browser tests, which start the binary themselves; it serves the SDK that was built before it.
run_browser_tests() {
  cargo build --locked --workspace --bin antiphon &&
    run_counted browser timeout --kill-after=30 2400 node --test --test-reporter=tap tests/browser/
}

# Builds the client as WebAssembly, and has it answer the conformance vectors in Node and in Chromium.
# Without Node, bootstrap has counted the skip.
run_wasm() {
  local status=0
  cargo xtask wasm || status=$?
  if [ "$status" -eq 3 ]; then
    skip "the standard library for wasm32" "rustup target add wasm32-unknown-unknown"
    [ "${CI:-}" != true ]
    return
  fi
  [ "$status" -eq 0 ] || return 1
  command -v node >/dev/null 2>&1 || return 0
  run_counted wasm node --test --test-reporter=tap tests/core/
}

# Runs simulated worlds: fixed seeds, then fresh ones; the first of those is printed, and the command for one that fails.
run_sim() {
  cargo xtask sim --seeds "${ANTIPHON_SIM_SEEDS:-150}" && cargo xtask sim --fresh "${ANTIPHON_SIM_SECONDS:-120}"
}

# Prints the slowest test programs.
print_slowest() {
  local log=$runs/tests.log
  [ -f "$log" ] || return 0
  printf '\nslowest test programs\n'
  sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
    /^ *Running / { program = $0; sub(/^ *Running /, "", program); sub(/ \(.*/, "", program) }
    /^test result:.*finished in/ { seconds = $0; sub(/.*finished in /, "", seconds); printf "%9.3f s  %s\n", seconds, program }
  ' | sort -u | sort -rn >"$runs/slowest"
  head -n 10 "$runs/slowest"
}

# Prints each reason for a skip with its count, then the line of sums, alone and last.
print_sums() {
  local silent
  silent=$(wc -l <"$ANTIPHON_SKIP_LOG")
  if [ "$silent" -gt 0 ]; then
    printf '\n'
    sort "$ANTIPHON_SKIP_LOG" | uniq -c
  fi
  # A test that skips itself is counted as passed by its runner.
  local themselves=$((silent - ${skips:-0} - ${bootstrap_skips:-0}))
  printf '\n%d passed, %d failed, %d skipped\n' "$((passed - themselves))" "$failed" "$((ignored + silent))"
}
