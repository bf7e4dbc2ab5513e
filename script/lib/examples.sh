# shellcheck shell=bash
# Builds the examples outside of the clone, in the cache, with the bundlers of examples/package-lock.json and the package
# as `npm pack` makes it: no links, so that what is found is what an application would find. Sourced after runners.sh.

# Prints the folder with the built examples; brings the bundlers where they are not here. 3: npm is missing.
antiphon_examples() {
  local lock=examples/package-lock.json place archive
  command -v npm >/dev/null 2>&1 || return 3
  place=$ANTIPHON_CACHE/examples-$(node -p \
    'require("crypto").createHash("sha256").update(require("fs").readFileSync(process.argv[1])).digest("hex").slice(0, 12)' \
    "$lock") || return
  if [ ! -f "$place/complete" ]; then
    mkdir -p "$place" && cp examples/package.json "$lock" "$place/" || return
    say "examples: bringing Vite and esbuild"
    npm ci --prefix "$place" --no-audit --no-fund --loglevel=error >&2 || return
    touch "$place/complete"
  fi
  rm -rf "$place/vite" "$place/esbuild" "$place/node_modules/@antiphon" || return
  mkdir -p "$place/node_modules/@antiphon/client" && cp -R examples/vite examples/esbuild "$place/" || return
  archive=$(cd packages/client && npm pack --silent --pack-destination "$place") || return
  tar -xzf "$place/$archive" --strip-components 1 -C "$place/node_modules/@antiphon/client" || return
  (cd "$place/vite" && "$place/node_modules/.bin/vite" build --logLevel warn >&2) || return
  (cd "$place/esbuild" && node build.mjs >&2) || return
  printf '%s\n' "$place"
}

# Builds them, and shows them to Chromium with the real server behind them.
run_examples() {
  local place status=0
  command -v node >/dev/null 2>&1 || return 0
  [ -f packages/client/dist/index.js ] || die "needs the built SDK: script/sdk"
  place=$(antiphon_examples) || status=$?
  if [ "$status" -eq 3 ]; then
    skip "npm, which brings Vite and esbuild" "apt-get install npm"
    [ "${CI:-}" != true ]
    return
  fi
  [ "$status" -eq 0 ] || return 1
  ANTIPHON_EXAMPLES=$place run_counted examples node --test --test-reporter=tap tests/bundlers/
}
