#!/usr/bin/env bash
# How much of the gateway's code the tests run that need no download: the lines of host/ and policies/, by folder, and all
# together. Ends with an error below FLOOR. Needs `rustup component add llvm-tools`, and installs it where it is missing.
#
#   tests/coverage.sh            # measures
#   tests/coverage.sh --open     # writes the lines of every file as HTML, too, into target/coverage/html
#
# Only the workspace's own crates are instrumented. Policies are measured by their own unit tests, not as WebAssembly; lines of
# tests within a file count as lines of the file, files of tests do not.
set -euo pipefail
cd "$(dirname "$0")/.."

# The share of lines, in percent: a little less than was measured. A change may move some lines, but not leave a module
# without tests.
FLOOR=94

rustup component list --installed | grep -q '^llvm-tools' || rustup component add llvm-tools
tools="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin"

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/coverage}" CARGO_INCREMENTAL=0
mkdir -p "$CARGO_TARGET_DIR"
target="$(cd "$CARGO_TARGET_DIR" && pwd)"
raw="$target/profiles"
rm -rf "$raw" && mkdir -p "$raw"

# Instruments the members of the workspace, as far as they are compiled for this machine: there is no profiler for WebAssembly.
# In bash: sh drops Cargo's variables whose names have a hyphen.
wrapper="$target/instrument"
cat > "$wrapper" << 'END'
#!/usr/bin/env bash
case " $* " in
*" wasm32-"*) exec "$@" ;;
esac
exec "$@" -C instrument-coverage
END
chmod +x "$wrapper"
export RUSTC_WORKSPACE_WRAPPER="$wrapper" LLVM_PROFILE_FILE="$raw/%p-%m.profraw"

tests=(--workspace --locked --lib --bins --test fast --test process)
programs="$(cargo test "${tests[@]}" --no-run --message-format=json-render-diagnostics | python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        print(message["executable"])
')"
# Programs that tests start have none of the tests' variables, and write their profiles where they work: into the packages'
# folders, or into folders of the tests, which are deleted.
collect() { find host tests policies -name 'default_*.profraw' -exec mv -t "$raw" {} +; }
trap collect EXIT
# Where files may not be large, an instrumented program cannot write its profile, and its last words are about that.
cargo test "${tests[@]}" --no-fail-fast -- --skip a_start_with_a_limit_of_file_sizes_that_is_too_low_names_it || failed=1
collect

find "$raw" -name '*.profraw' > "$target/profiles.txt"
"$tools/llvm-profdata" merge --sparse --failure-mode=all --input-files="$target/profiles.txt" -o "$target/all.profdata"
objects=()
while read -r program; do objects+=(--object "$program"); done <<< "$programs"
about=("${objects[@]:1}" --instr-profile="$target/all.profdata" --ignore-filename-regex='(/\.cargo/|/rustc/|/target/|/tests/|/tests\.rs$|/benches/|/build\.rs$)')
if [[ "${1:-}" == --open ]]; then
    "$tools/llvm-cov" show "${about[@]}" --format=html --output-dir="$target/html"
fi
"$tools/llvm-cov" export "${about[@]}" --summary-only > "$target/coverage.json"
python3 - "$target/coverage.json" "$FLOOR" << 'END'
import collections, json, os, sys
path, floor = sys.argv[1:]
folders = collections.defaultdict(lambda: [0, 0])
for file in json.load(open(path))["data"][0]["files"]:
    name = os.path.relpath(file["filename"])
    parts = name.split("/")
    lines = file["summary"]["lines"]
    for folder in ("/".join(parts[:3]).removesuffix(".rs"), "all"):
        folders[folder][0] += lines["covered"]
        folders[folder][1] += lines["count"]
def share(counts):
    return 100 * counts[0] / max(counts[1], 1)
for folder, counts in sorted(folders.items()):
    print(f"{share(counts):6.1f} %  of {counts[1]:6} lines  {folder}")
if share(folders["all"]) < float(floor):
    sys.exit(f"less than {floor} % of the lines are run by the tests")
END
exit "${failed:-0}"
