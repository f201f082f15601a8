//! Compiles the guests that only tests use: one that obeys a script, one that tries to read files.

#[path = "../host/build/guests.rs"]
mod guests;

fn main() -> std::io::Result<()> {
    for input in ["../host/build", "../wit", "guests", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={input}");
    }
    guests::build(&[
        ("test-guest-every", "every"),
        ("test-guest-forbidden", "forbidden"),
    ])
}
