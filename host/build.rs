//! Compiles the four default policies to components, which the host embeds with their cases.

#[path = "build/cases.rs"]
mod cases;
#[path = "build/guests.rs"]
mod guests;

fn main() -> std::io::Result<()> {
    cases::list(&[
        ("auth", "../policies/auth"),
        ("model", "../policies/model"),
        ("rate-limit", "../policies/rate-limit"),
        ("tool-stop", "../policies/tool-stop"),
    ])?;
    // Not all of ../policies: building an example there must not compile the gateway again.
    guests::build(&[
        ("codex-policy-auth", "../policies/auth"),
        ("codex-policy-model", "../policies/model"),
        ("codex-policy-rate-limit", "../policies/rate-limit"),
        ("codex-policy-tool-stop", "../policies/tool-stop"),
    ])
}
