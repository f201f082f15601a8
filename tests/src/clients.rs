//! The clients in the book's table, and their settings: the table is made of them, and the tests run the programs with them.

mod table;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::gateway::{Gateway, KEY};
use crate::real::variable;

pub use table::{AIDER, ALL, CLAUDE, CLINE, CODEX, OPENCODE};

/// The gateway's origin in the book.
pub const ORIGIN: &str = "http://127.0.0.1:11435";

/// The key in the book.
const BOOKS_KEY: &str = "$KEY";

/// The timeout of a client program.
const PATIENCE: Duration = Duration::from_secs(120);

/// One setting of a client, as its user writes it.
#[derive(Debug, Clone, Copy)]
pub enum Setting {
    /// A variable of the environment.
    Variable(&'static str, &'static str),
    /// Words of the command line.
    Words(&'static str),
    /// Words of a command line that is run once, before the others.
    Login(&'static str),
    /// A part of the client's configuration file.
    Part(&'static str),
    /// An argument where a library's client is made.
    Argument(&'static str, &'static str),
}

/// A client, and what has to be set so that it uses the gateway.
#[derive(Debug)]
pub struct Client {
    /// Its name in the table.
    pub name: &'static str,
    /// The file that pins its version, and the text before the version there.
    pub pin: (&'static str, &'static str),
    /// The APIs it uses.
    pub over: &'static str,
    /// Where the gateway is.
    pub base_url: &'static [Setting],
    /// The key.
    pub key: &'static [Setting],
    /// The model.
    pub model: &'static [Setting],
    /// All else that the test sets.
    pub switches: &'static [Setting],
    /// Its configuration file in the book, and the place of that in the home of its user.
    pub file: Option<(&'static str, &'static str)>,
    /// The test, or the script that it runs.
    pub test: &'static str,
}

impl Client {
    /// All settings.
    pub fn settings(&self) -> impl Iterator<Item = Setting> {
        let parts = [self.base_url, self.key, self.model, self.switches];
        parts.into_iter().flatten().copied()
    }

    /// The configuration file for this gateway.
    ///
    /// # Panics
    /// If the client has none.
    #[must_use]
    pub fn configuration(&self, gateway: &Gateway) -> String {
        let (source, _) = self.file.expect("a configuration file");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(source);
        let text = std::fs::read_to_string(source).expect("a configuration of the book");
        text.replace(ORIGIN, &gateway.origin)
    }

    /// The program with all its settings; `home` is its home and its working folder, and has its configuration file.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[must_use]
    pub fn command(&self, program: &str, gateway: &Gateway, home: &Path) -> Command {
        if let Some((_, place)) = self.file {
            let place = home.join(place);
            std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
            // A test may have put another one there.
            if !place.exists() {
                std::fs::write(place, self.configuration(gateway)).expect("a configuration");
            }
        }
        let mut command = bare(program, home);
        for setting in self.settings() {
            match setting {
                Setting::Variable(name, value) => {
                    command.env(name, in_a_test(value, gateway));
                }
                Setting::Words(words) => {
                    command.args(words.split(' ').map(|word| in_a_test(word, gateway)));
                }
                Setting::Login(_) | Setting::Part(_) | Setting::Argument(..) => {}
            }
        }
        command
    }

    /// The command that is run once, before the others.
    #[must_use]
    pub fn login(&self, program: &str, gateway: &Gateway, home: &Path) -> Command {
        let mut command = bare(program, home);
        for setting in self.settings() {
            if let Setting::Login(words) = setting {
                command.args(words.split(' ').map(|word| in_a_test(word, gateway)));
            }
        }
        command
    }
}

/// A value of the book, with the address and the key of a test.
fn in_a_test(value: &str, gateway: &Gateway) -> String {
    value
        .replace(ORIGIN, &gateway.origin)
        .replace(BOOKS_KEY, KEY)
}

/// A program without settings of this machine's.
fn bare(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", variable("PATH"))
        .env("HOME", home)
        .current_dir(home);
    command
}

/// Whether a program that was given `input` succeeded, and what it wrote to `stdout` and `stderr`.
///
/// # Panics
/// If it does not start or does not end.
pub async fn output(mut command: Command, input: &str) -> (bool, String, String) {
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut program = command.spawn().expect("the program starts");
    if let Some(mut stdin) = program.stdin.take() {
        // A program that reads nothing may have ended by now.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let output = tokio::time::timeout(PATIENCE, program.wait_with_output()).await;
    let output = output.expect("the program ends").expect("its output");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The `stdout` of a program that succeeded.
///
/// # Panics
/// If it fails.
pub async fn said(command: Command, input: &str) -> String {
    let (is_well, said, errors) = output(command, input).await;
    assert!(is_well, "{said}\n{errors}");
    said
}
