//! The headers a policy may set: an allow-list by destination, since all others frame, encode or guard the host's own response.

use super::bindings::Header;
use super::words;

/// The most headers of one decision.
const MOST: usize = 32;

/// The most bytes of their names and values: with the host's own they fit the 4 KiB that nginx reserves for the head of a
/// response.
const MOST_BYTES: usize = 3 * 1024;

/// The destination of a policy's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To the client, with a denial or an answer.
    Answer,
    /// To an edge proxy, which copies them to the request it lets through.
    Grant,
}

/// Prefixes of headers that the host or an edge proxy sets, or that a proxy obeys (`x-accel-redirect` makes nginx serve a file of
/// its own).
const TAKEN: [&str; 8] = [
    "x-codex-",
    "x-policy-",
    "x-proxy-",
    "x-request-id",
    "x-accel-",
    "x-original-",
    "x-real-ip",
    "x-forwarded-",
];

/// Headers that make a server on the way send a file.
const ORDERS: [&str; 3] = ["x-sendfile", "x-send-file", "x-lighttpd-send-file"];

/// Headers by which oauth2-proxy passes the identity of the caller to upstreams.
const FORWARDED_IDENTITY: [&str; 5] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
];

impl Purpose {
    fn allows(self, name: &str) -> bool {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let is_taken = begins(&TAKEN) || ORDERS.contains(&name);
        let is_extension = name.starts_with("x-") && !is_taken;
        let is_limit = name == "ratelimit" || name.starts_with("ratelimit-");
        let others: &[&str] = match self {
            Self::Answer => &["www-authenticate", "retry-after", "retry-after-ms"],
            Self::Grant => &["authorization"],
        };
        match self {
            // `x-auth-` headers pass the caller's identity to upstreams, and the host sets them.
            Self::Answer if name.starts_with("x-auth-") => false,
            Self::Grant if FORWARDED_IDENTITY.contains(&name) => true,
            Self::Grant if name.starts_with("remote-") => true,
            _ => is_extension || is_limit || others.contains(&name),
        }
    }
}

/// Lowercases the names, and checks that a policy may set each header and that it can be sent.
///
/// # Errors
/// The first header that is not allowed, by name.
pub(super) fn check(purpose: Purpose, headers: &mut [Header]) -> Result<(), String> {
    if headers.len() > MOST {
        return Err(format!("{} headers (at most {MOST})", headers.len()));
    }
    let mut bytes = 0;
    for (name, value) in headers {
        name.make_ascii_lowercase();
        if !is_token(name) || !purpose.allows(name) {
            let name = words::text_within(64, std::mem::take(name));
            return Err(format!(
                "the header {name:?}, which is not a policy's to set"
            ));
        }
        if words::has_control(value) {
            return Err(format!("the header {name:?} with control characters"));
        }
        bytes += name.len() + value.len();
        if bytes > MOST_BYTES {
            return Err(format!(
                "headers of more than {MOST_BYTES} bytes, {name:?} among them"
            ));
        }
    }
    Ok(())
}

fn is_token(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(purpose: Purpose, name: &str, value: &str) -> Result<(), String> {
        check(purpose, &mut [(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_policy_sets_what_is_its_own_to_say() {
        for name in [
            "www-authenticate",
            "WWW-Authenticate",
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-remaining-requests",
            "ratelimit",
            "ratelimit-policy",
            "x-should-retry",
            "x-stamp",
        ] {
            assert_eq!(set(Purpose::Answer, name, "1"), Ok(()), "{name}");
        }
        for name in [
            "x-auth-caller",
            "x-forwarded-user",
            "remote-groups",
            "authorization",
            "x-team",
        ] {
            assert_eq!(set(Purpose::Grant, name, "Jürgen"), Ok(()), "{name}");
        }
    }

    #[test]
    fn everything_else_is_nonsense_and_named() {
        let framing = [
            "content-length",
            "Content-Length",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "upgrade",
            "te",
            "trailer",
            "content-encoding",
            "content-type",
            "set-cookie",
            "access-control-allow-origin",
            "location",
            "cache-control",
            "date",
            "server",
            "host",
            "x-request-id",
            "x-codex-generation",
            "x-policy-version",
            "x-accel-redirect",
            "x-accel-buffering",
            "x-sendfile",
            "x-forwarded-for",
            "x-real-ip",
            "openai-processing-ms",
            "x stamp",
            "x-stamp:",
            "x-stämp",
            ":status",
            "",
        ];
        for purpose in [Purpose::Answer, Purpose::Grant] {
            for name in framing {
                let found = set(purpose, name, "3").unwrap_err();
                assert!(found.contains(&name.to_lowercase()), "{found}");
            }
        }
        assert!(set(Purpose::Answer, "x-auth-caller", "root").is_err());
        assert!(set(Purpose::Answer, "authorization", "Bearer x").is_err());
        assert!(set(Purpose::Grant, "www-authenticate", "Bearer").is_err());
    }

    #[test]
    fn values_break_no_line_and_there_is_an_end_of_them() {
        for value in ["a\r\nx-b: c", "a\nb", "\0", "\u{7f}", "a\tb"] {
            let found = set(Purpose::Answer, "x-stamp", value).unwrap_err();
            assert!(found.contains("x-stamp"), "{found}");
        }
        let long = "x".repeat(MOST_BYTES);
        assert!(set(Purpose::Answer, "x-stamp", &long).is_err());
        let mut many = vec![("x-stamp".to_owned(), String::new()); MOST + 1];
        assert!(check(Purpose::Answer, &mut many).is_err());
        assert_eq!(check(Purpose::Answer, &mut many[1..]), Ok(()));
    }
}
