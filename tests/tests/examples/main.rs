//! The examples in JavaScript and Python build, and pass their tests and cases, with what their README says and nothing else.

mod day;

use codex_gateway_tests::examples::Example;

#[test]
fn an_example_in_javascript_is_copied_and_built() {
    let component = Example::copied("business-hours").built(env!("CARGO_BIN_EXE_gateway"), |npm| {
        npm.env("npm_config_prefer_offline", "true");
    });
    assert!(component.starts_with(b"\0asm"));
}

#[test]
fn an_example_in_python_is_copied_and_built() {
    let example = Example::copied("tool-allow-list");
    let component = example.built(env!("CARGO_BIN_EXE_gateway"), |_| {});
    assert!(component.starts_with(b"\0asm"));
}
