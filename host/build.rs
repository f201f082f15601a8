//! Compiles the four default policies to components, and lists their cases and the files of new policies: the host embeds all.

#[path = "build/embedded.rs"]
mod embedded;
#[path = "build/guests.rs"]
mod guests;

fn main() -> std::io::Result<()> {
    embedded::list("templates.rs", "../policies", &["sdk", "templates"])?;
    let cases = ["auth", "model", "rate-limit", "tool-stop"].map(|slot| format!("{slot}/cases"));
    let cases = cases.each_ref().map(String::as_str);
    embedded::list("cases.rs", "../policies", &cases)?;
    // Not all of ../policies: building an example there must not compile the gateway again.
    guests::build(&[
        ("codex-policy-auth", "../policies/auth"),
        ("codex-policy-model", "../policies/model"),
        ("codex-policy-rate-limit", "../policies/rate-limit"),
        ("codex-policy-tool-stop", "../policies/tool-stop"),
    ])
}
