#!/usr/bin/env bash
# Installs versions of Codex into the cache of `.ci/run`, and runs the short form of the real suite with each of them.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- 0.157.1 0.160.0 0.163.0 0.166.0 0.167.2 0.168.0
CACHE="${CODEX_GATEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/codex-gateway}"
programs=()
for version in "$@"; do
    folder="$CACHE/codex-$version"
    program="$folder/node_modules/.bin/codex"
    if [ ! -x "$program" ]; then
        mkdir -p "$folder"
        npm install --silent --no-audit --no-fund --prefix "$folder" "@openai/codex@$version"
    fi
    "$program" --version
    programs+=("$program")
done
TEST_CODEX_OTHERS="$(IFS=:; echo "${programs[*]}")"
export TEST_CODEX_OTHERS
cargo test --workspace --locked --test real versions -- --ignored --nocapture
