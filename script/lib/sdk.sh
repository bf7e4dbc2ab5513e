# shellcheck shell=bash
# Builds the TypeScript SDK in packages/client: `dist`, its modules and declarations, and `bundle`, one file beside the
# core, as `antiphon dev` serves it. Sourced after house.sh. The tools stand in the cache, by the lock file they are of.

# What a page may have to load besides the core, compressed.
sdk_gzip_bytes_max=30000

# Prints the folder of the tools' programs; brings them where they are not here.
antiphon_sdk_tools() {
  local lock=packages/client/package-lock.json place
  place=$ANTIPHON_CACHE/sdk-tools-$(node -p \
    'require("crypto").createHash("sha256").update(require("fs").readFileSync(process.argv[1])).digest("hex").slice(0, 12)' \
    "$lock") || return
  if [ ! -f "$place/complete" ]; then
    command -v npm >/dev/null 2>&1 || return 3
    mkdir -p "$place" && cp packages/client/package.json "$lock" "$place/" || return
    say "sdk: bringing the TypeScript compiler and esbuild"
    npm ci --prefix "$place" --no-audit --no-fund --loglevel=error >&2 || return
    touch "$place/complete"
  fi
  printf '%s\n' "$place/node_modules/.bin"
}

# Builds it; the core must be there. 3: npm is missing, which was said and counted.
antiphon_sdk() {
  local tools status=0 package=packages/client bytes
  tools=$(antiphon_sdk_tools) || status=$?
  if [ "$status" -eq 3 ]; then
    skip "npm, which brings the SDK's compiler" "apt-get install npm"
    return 3
  fi
  [ "$status" -eq 0 ] || return 1
  [ -f $package/core/core.js ] || die "needs packages/client/core: cargo xtask wasm"
  "$tools/tsc" -p $package/tests &&
    rm -rf $package/dist.new && "$tools/tsc" -p $package --outDir $package/dist.new &&
    rm -rf $package/dist && mv $package/dist.new $package/dist &&
    "$tools/esbuild" $package/src/index.ts --bundle --format=esm --target=es2022 --minify --legal-comments=none \
      --log-level=warning --outfile=$package/bundle/client.js &&
    cp $package/core/core_bg.wasm $package/bundle/ || return 1
  bytes=$(gzip -9c $package/bundle/client.js | wc -c)
  say "sdk: client.js is $(wc -c <$package/bundle/client.js) bytes, $bytes gzipped; the limit is $sdk_gzip_bytes_max gzipped"
  [ "$bytes" -le "$sdk_gzip_bytes_max" ]
}
