//! Compiles the guests that only tests use: one that obeys a script, one that tries to read files.

#[path = "../host/build/guests.rs"]
mod guests;

fn main() -> std::io::Result<()> {
    guests::build(&[
        ("test-guest-every", "guests/every"),
        ("test-guest-forbidden", "guests/forbidden"),
    ])
}
