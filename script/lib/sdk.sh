# shellcheck shell=bash
# Builds the TypeScript packages: the `dist` of each, its modules and declarations, and packages/client/bundle, one file
# beside the core, as `antiphon dev` serves it. Sourced after house.sh. What npm brings stands in the cache, by the one
# lock file it is of, and is linked into packages/node_modules.

# What a page may have to load besides the core, compressed.
sdk_gzip_bytes_max=30000

# Prints the folder of the tools' programs; brings them where they are not here, and links packages/node_modules to them.
antiphon_sdk_tools() {
  local lock=packages/package-lock.json place
  place=$ANTIPHON_CACHE/sdk-tools-$(node -p \
    'require("crypto").createHash("sha256").update(require("fs").readFileSync(process.argv[1])).digest("hex").slice(0, 12)' \
    "$lock") || return
  if [ ! -f "$place/complete" ]; then
    command -v npm >/dev/null 2>&1 || return 3
    mkdir -p "$place" && cp packages/package.json "$lock" "$place/" || return
    say "sdk: bringing what the packages are built and tested with"
    npm ci --prefix "$place" --no-audit --no-fund --loglevel=error >&2 || return
    touch "$place/complete"
  fi
  node script/lib/link-packages.mjs "$place/node_modules" || return
  printf '%s\n' "$place/node_modules/.bin"
}

# Copies a file where it differs: the binary is built anew when its bundle is touched.
replace() {
  cmp -s "$1" "$2" || cp "$1" "$2"
}

# Writes the core $1 as a module beside it, for bundles of one file.
antiphon_inline() {
  printf 'export default "%s";\n' "$(base64 <"$1" | tr -d '\n')" >"${1%/*}/inline.js" &&
    printf 'declare const core: string;\nexport default core;\n' >"${1%/*}/inline.d.ts"
}

# Builds the modules and declarations of the package in the folder $1 with the tools in $2, then compiles its tests.
antiphon_package() {
  rm -rf "$1/dist.new" && "$2/tsc" -p "$1" --outDir "$1/dist.new" &&
    rm -rf "$1/dist" && mv "$1/dist.new" "$1/dist" || return
  [ ! -f "$1/tests/tsconfig.json" ] || "$2/tsc" -p "$1/tests"
}

# Builds Desk with the tools in $1: checks its types, and writes apps/desk/bundle, which goes into the binary.
antiphon_desk() {
  "$1/tsc" -p apps/desk && node apps/desk/build.mjs
}

# Builds them all; the core must be there. 3: npm is missing, which was said and counted.
antiphon_sdk() {
  local tools status=0 package=packages/client bytes
  tools=$(antiphon_sdk_tools) || status=$?
  if [ "$status" -eq 3 ]; then
    skip "npm, which brings the SDK's compiler" "apt-get install npm"
    return 3
  fi
  [ "$status" -eq 0 ] || return 1
  [ -f $package/core/core.js ] || die "needs packages/client/core: cargo xtask wasm"
  antiphon_inline $package/core/core_bg.wasm && antiphon_package $package "$tools" && antiphon_package packages/react "$tools" && antiphon_package packages/tanstack "$tools" &&
    "$tools/esbuild" $package/src/index.ts --bundle --format=esm --target=es2022 --minify --legal-comments=none \
      --log-level=warning --outfile=$package/dist/client.bundle.js &&
    replace $package/dist/client.bundle.js $package/bundle/client.js &&
    replace $package/core/core_bg.wasm $package/bundle/core_bg.wasm || return 1
  antiphon_desk "$tools" || return 1
  bytes=$(gzip -9c $package/bundle/client.js | wc -c)
  say "sdk: client.js is $(wc -c <$package/bundle/client.js) bytes, $bytes gzipped; the limit is $sdk_gzip_bytes_max gzipped"
  [ "$bytes" -le "$sdk_gzip_bytes_max" ]
}
