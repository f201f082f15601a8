#!/usr/bin/env bash
# A Rust without the target and without rustup: the build ends at once, with one line that says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

folder="$(mktemp --directory)"
trap 'rm -rf "$folder"' EXIT
# A rustc that knows of no target but its own, as distributions ship it.
cat > "$folder/rustc" << END
#!/bin/sh
case "\$*" in
    *--print\ target-libdir*) echo "$folder/no-such-target" ;;
    *) exec "$(rustup which rustc)" "\$@" ;;
esac
END
chmod +x "$folder/rustc"
ln -s "$(rustup which cargo)" "$folder/cargo"
for tool in sh env tr sed; do
    ln -s "$(command -v "$tool")" "$folder/$tool"
done

said="$(PATH="$folder" "$folder/cargo" build --release --target-dir "$folder/target" 2>&1)" && {
    echo "the build went on without the target"
    exit 1
}
grep --quiet "this Rust has no target wasm32-wasip2" <<< "$said" || { echo "$said"; exit 1; }
if grep --quiet Compiling <<< "$said"; then
    echo "something was compiled first:"
    echo "$said"
    exit 1
fi
