//! Compiles the four default policies to components, and lists their cases and the files of new policies: the host embeds all.

#[path = "build/cases.rs"]
mod cases;
#[path = "build/guests.rs"]
mod guests;
#[path = "build/templates.rs"]
mod templates;

fn main() -> std::io::Result<()> {
    templates::list("../policies", &["sdk", "templates"])?;
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
