//! Reads the two extensions of a certificate that decide whether OpenSSL and rustls would trust the same because of it.

/// The last byte of the identifiers of the two extensions, 2.5.29.x (RFC 5280, 4.2.1).
const ALTERNATIVE_NAMES: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;

/// Tags of DER (X.690), and of the names of servers (RFC 5280, 4.2.1.6).
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;

/// The kind of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The certificate vouches for others, and is not a server's own: both libraries trust the same.
    Authority,
    /// The certificate vouches for no other. To OpenSSL it is a server's own certificate; to rustls it would be an authority.
    Server,
    /// The certificate does both, or says neither: OpenSSL takes it as both, rustls only as an authority.
    Unclear,
}

impl Kind {
    /// The kind of a certificate in DER.
    pub(super) fn of(der: &[u8]) -> Self {
        let vouches = extension(der, BASIC_CONSTRAINTS).map(|constraints| {
            let first = within(constraints).and_then(element);
            matches!(first, Some((BOOLEAN, [0xff], _)))
        });
        let is_servers = || {
            let mut names = extension(der, ALTERNATIVE_NAMES).and_then(within);
            while let Some((tag, _, rest)) = names.and_then(element) {
                if tag == DNS_NAME || tag == ADDRESS {
                    return true;
                }
                names = Some(rest);
            }
            false
        };
        match vouches {
            Some(true) if !is_servers() => Self::Authority,
            Some(false) => Self::Server,
            _ => Self::Unclear,
        }
    }
}

/// The content of an extension.
fn extension(der: &[u8], id: u8) -> Option<&[u8]> {
    let mark = [0x06, 0x03, 0x55, 0x1d, id];
    let at = der.windows(mark.len()).position(|bytes| bytes == mark)?;
    let (tag, content, rest) = element(der.get(at + mark.len()..)?)?;
    match tag {
        // The optional flag that the extension is critical comes first.
        BOOLEAN => element(rest)
            .filter(|(tag, ..)| *tag == OCTETS)
            .map(|(_, content, _)| content),
        OCTETS => Some(content),
        _ => None,
    }
}

fn within(content: &[u8]) -> Option<&[u8]> {
    element(content)
        .filter(|(tag, ..)| *tag == SEQUENCE)
        .map(|(_, content, _)| content)
}

/// Tag and content of the first element, and the bytes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        _ => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let add = |sum: usize, digit: &u8| sum.checked_mul(256)?.checked_add((*digit).into());
            (digits.iter().try_fold(0, add)?, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As much of a certificate as `Kind::of` reads. `vouches`: `None` leaves the extension out.
    pub(in super::super) fn certificate(vouches: Option<bool>, names: &[(u8, &str)]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let mut element = vec![tag, 0x81, u8::try_from(content.len()).unwrap()];
            element.extend(content);
            element
        };
        let mut extensions = Vec::new();
        if let Some(vouches) = vouches {
            let constraints: &[u8] = if vouches { &[BOOLEAN, 1, 0xff] } else { &[] };
            let id = [0x06, 0x03, 0x55, 0x1d, BASIC_CONSTRAINTS, BOOLEAN, 1, 0xff];
            extensions.extend(id);
            extensions.extend(wrap(OCTETS, &wrap(SEQUENCE, constraints)));
        }
        if !names.is_empty() {
            let names: Vec<u8> = names
                .iter()
                .flat_map(|(tag, name)| wrap(*tag, name.as_bytes()))
                .collect();
            extensions.extend([0x06, 0x03, 0x55, 0x1d, ALTERNATIVE_NAMES]);
            extensions.extend(wrap(OCTETS, &wrap(SEQUENCE, &names)));
        }
        wrap(SEQUENCE, &extensions)
    }

    #[test]
    fn an_authority_vouches_for_others_and_is_no_servers_own() {
        const MAIL: u8 = 0x81;
        for (vouches, names, expected) in [
            (Some(true), &[][..], Kind::Authority),
            (Some(true), &[(MAIL, "ca@example.org")], Kind::Authority),
            (
                Some(true),
                &[(MAIL, "x"), (DNS_NAME, "localhost")],
                Kind::Unclear,
            ),
            (Some(true), &[(ADDRESS, "abcd")], Kind::Unclear),
            (Some(false), &[(DNS_NAME, "localhost")], Kind::Server),
            (Some(false), &[], Kind::Server),
            (None, &[], Kind::Unclear),
        ] {
            let der = certificate(vouches, names);
            assert_eq!(Kind::of(&der), expected, "{vouches:?} {names:?}");
            for end in 0..der.len() {
                // A certificate that is cut off must not be trusted for more.
                let cut = Kind::of(&der[..end]);
                assert!(cut != Kind::Authority || expected != Kind::Server);
            }
        }
    }
}
