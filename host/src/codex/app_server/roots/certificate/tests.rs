//! Certificates are read as a whole; a damaged or ambiguous one is a reason to leave the roots alone, never to trust more.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

/// Tags of DER (X.690), and of the names of servers (RFC 5280, 4.2.1.6).
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const MAIL: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;

/// The last byte of the identifiers of these extensions, 2.5.29.x (RFC 5280, 4.2.1).
const ALTERNATIVE_NAMES: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;

/// An element; lengths as short as DER has them.
fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut element = vec![tag];
    match (length, content.len()) {
        ([_, low], 0..=0x7f) => element.push(low),
        ([0, low], _) => element.extend([0x81, low]),
        ([high, low], _) => element.extend([0x82, high, low]),
    }
    element.extend(content);
    element
}

fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    wrap(SEQUENCE, &elements.concat())
}

fn extension(id: u8, content: &[u8]) -> Vec<u8> {
    let id = [0x06, 0x03, 0x55, 0x1d, id];
    sequence(&[&id, &[BOOLEAN, 1, 0xff], &wrap(OCTETS, content)])
}

fn constraints(vouches: bool) -> Vec<u8> {
    let authority: &[u8] = if vouches { &[BOOLEAN, 1, 0xff] } else { &[] };
    extension(BASIC_CONSTRAINTS, &sequence(&[authority]))
}

fn alternative_names(names: &[(u8, &str)]) -> Vec<u8> {
    let names = names.iter().map(|(tag, name)| wrap(*tag, name.as_bytes()));
    extension(
        ALTERNATIVE_NAMES,
        &wrap(SEQUENCE, &names.collect::<Vec<_>>().concat()),
    )
}

/// A whole certificate; nobody signed it. `common_name`: of its subject.
fn with(common_name: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    const VERSION_3: &[u8] = &[0xa0, 3, 2, 1, 2];
    const SERIAL: &[u8] = &[2, 1, 7];
    let algorithm = sequence(&[&[0x06, 3, 0x2b, 0x65, 0x70]]);
    let name = |text: &[u8]| {
        let attribute = sequence(&[&[0x06, 3, 0x55, 4, 3], &wrap(0x0c, text)]);
        sequence(&[&wrap(0x31, &attribute)])
    };
    let day = wrap(0x17, b"260101000000Z");
    let mut to_be_signed = vec![
        VERSION_3.to_vec(),
        SERIAL.to_vec(),
        algorithm.clone(),
        name(b"issuer"),
        sequence(&[&day, &day]),
        name(common_name),
        sequence(&[&algorithm, &wrap(0x03, &[0; 33])]),
    ];
    if !extensions.is_empty() {
        to_be_signed.push(wrap(0xa3, &wrap(SEQUENCE, &extensions.concat())));
    }
    let to_be_signed = wrap(SEQUENCE, &to_be_signed.concat());
    sequence(&[&to_be_signed, &algorithm, &wrap(0x03, &[0; 65])])
}

/// `vouches`: absent without the extension.
pub(in super::super) fn certificate(vouches: Option<bool>, names: &[(u8, &str)]) -> Vec<u8> {
    let mut extensions = Vec::new();
    extensions.extend(vouches.map(constraints));
    if !names.is_empty() {
        extensions.push(alternative_names(names));
    }
    with(b"subject", &extensions)
}

#[test]
fn an_authority_vouches_for_others_and_is_no_servers_own() {
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
            assert_eq!(Kind::of(&der[..end]), Kind::Unclear, "cut at {end}");
        }
    }
}

#[test]
fn certificates_that_openssl_made_are_read() {
    for (pem, expected) in [
        (include_str!("../testdata/authority.pem"), Kind::Authority),
        (include_str!("../testdata/server.pem"), Kind::Server),
        (include_str!("../testdata/both.pem"), Kind::Unclear),
    ] {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let der = BASE64_STANDARD.decode(lines.collect::<String>()).unwrap();
        assert_eq!(Kind::of(&der), expected, "{pem}");
    }
}

#[test]
fn extensions_are_looked_for_where_extensions_are() {
    // A search for bytes would find the first.
    let words = constraints(true);
    let der = with(&words, &[constraints(false)]);
    assert_eq!(Kind::of(&der), Kind::Server);
    assert_eq!(Kind::of(&with(&words, &[])), Kind::Unclear);
    let in_another = extension(14, &constraints(true));
    assert_eq!(
        Kind::of(&with(b"x", &[in_another, constraints(false)])),
        Kind::Server
    );
}

#[test]
fn an_ambiguous_certificate_is_no_authority() {
    let by_any_true = sequence(&[&[BOOLEAN, 1, 1]]);
    let short = wrap(SEQUENCE, &[BOOLEAN, 2, 0xff]);
    for (what, der) in [
        ("twice", with(b"x", &[constraints(true), constraints(true)])),
        ("both", with(b"x", &[constraints(true), constraints(false)])),
        (
            "names twice",
            with(
                b"x",
                &[
                    constraints(true),
                    alternative_names(&[(MAIL, "x")]),
                    alternative_names(&[(DNS_NAME, "localhost")]),
                ],
            ),
        ),
        (
            "a true of BER",
            with(b"x", &[extension(BASIC_CONSTRAINTS, &by_any_true)]),
        ),
        ("short", with(b"x", &[extension(BASIC_CONSTRAINTS, &short)])),
        (
            "names that are none",
            with(
                b"x",
                &[
                    constraints(true),
                    extension(ALTERNATIVE_NAMES, b"localhost"),
                ],
            ),
        ),
        ("trailing", {
            let mut der = certificate(Some(true), &[]);
            der.push(0);
            der
        }),
    ] {
        assert_eq!(Kind::of(&der), Kind::Unclear, "{what}");
    }
}

#[test]
fn damaged_certificates_are_survived_and_trusted_no_more_than_before() {
    let server = certificate(Some(false), &[(DNS_NAME, "localhost")]);
    for at in 0..server.len() {
        for byte in 0..=u8::MAX {
            let mut der = server.clone();
            der[at] = byte;
            assert_ne!(Kind::of(&der), Kind::Authority, "{byte} at {at}");
        }
    }
    for der in [
        &[][..],
        &[SEQUENCE, 0x80, 0, 0],
        &[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[SEQUENCE, 0xff],
        &[SEQUENCE; 4096],
    ] {
        assert_eq!(Kind::of(der), Kind::Unclear, "{der:?}");
    }
}

#[test]
fn a_certificate_of_any_length_costs_nothing() {
    let long = with(&[b'x'; 60 << 10], &[constraints(true)]);
    assert_eq!(Kind::of(&long), Kind::Authority);
    let mut longer = long;
    longer.resize(MAX_BYTES + 1, 0);
    assert_eq!(Kind::of(&longer), Kind::Unclear);
}
