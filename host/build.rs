//! Compiles the four default policies to components, which the host embeds.

#[path = "build/guests.rs"]
mod guests;

fn main() -> std::io::Result<()> {
    for input in ["build", "../wit", "../policies", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={input}");
    }
    guests::build(&[
        ("codex-policy-auth", "auth"),
        ("codex-policy-model", "model"),
        ("codex-policy-rate-limit", "rate-limit"),
        ("codex-policy-tool-stop", "tool-stop"),
    ])
}
