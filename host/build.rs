//! Compiles the four default policies to components, which the host embeds.

#[path = "build/guests.rs"]
mod guests;

fn main() -> std::io::Result<()> {
    // Not all of ../policies: building an example there must not compile the gateway again.
    for input in [
        "build",
        "../wit",
        "../policies/auth",
        "../policies/model",
        "../policies/rate-limit",
        "../policies/settings",
        "../policies/tool-stop",
        "../Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={input}");
    }
    guests::build(&[
        ("codex-policy-auth", "auth"),
        ("codex-policy-model", "model"),
        ("codex-policy-rate-limit", "rate-limit"),
        ("codex-policy-tool-stop", "tool-stop"),
    ])
}
