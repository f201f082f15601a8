//! Tests of signatures: which hold, and the words about those that do not.

use super::super::signing::{Password, SigningKey, new_keys};
use super::*;

fn key() -> SigningKey {
    let keys = new_keys(Password::None).unwrap();
    SigningKey::read(&keys.secret, Password::Asked).unwrap()
}

/// The refusal of a file `auth.json` with the bytes `{}` and this signature.
fn refused(trust: &Trust, signature: &str) -> String {
    let verified = trust.verify("auth.json", b"{}", Some(signature.as_bytes()));
    verified.unwrap_err().to_string()
}

#[test]
fn a_signature_holds_for_its_bytes_and_its_name_only() {
    let key = key();
    let signature = key.sign("auth.json", b"{}").unwrap();
    let verify = |name: &str, bytes: &[u8]| {
        let trust = key.trust();
        trust.verify(name, bytes, Some(signature.as_bytes()))
    };
    let signed = verify("auth.json", b"{}").unwrap().unwrap();
    assert_eq!(signed.key, key.id());
    assert!(signed.at.unwrap() > 1_700_000_000);
    assert_eq!(
        verify("auth.json", b"{ }"),
        Err(Distrust::Altered(key.id()))
    );
    let other = Distrust::OtherFile(Some("auth.json".to_owned()));
    assert_eq!(verify("model.json", b"{}"), Err(other));
}

#[test]
fn a_name_that_was_changed_in_the_signature_is_refused() {
    let key = key();
    let signature = key.sign("model.json", b"{}").unwrap();
    let claimed = signature.replace("file:model.json", "file:auth.json");
    assert!(refused(&key.trust(), &claimed).contains("it was altered"));
}

#[test]
fn every_other_signature_is_refused_with_its_reason() {
    let (key, other) = (key(), self::key());
    let signature = key.sign("auth.json", b"{}").unwrap();
    let lines: Vec<_> = signature.lines().collect();
    let nameless = signature.replace("file:auth.json", "auth.json");
    let short = [lines[0], lines[1], lines[2], "AAAA"].join("\n");
    // The algorithm: `ED` with a hash, `Ed` without.
    let legacy = signature.replacen("\nRU", "\nRW", 1);
    for (signature, said) in [
        (String::new(), "found another text"),
        ("{}".to_owned(), "found another text"),
        (lines[..3].join("\n"), "found another text"),
        (short, "found another text"),
        (nameless, "one of no named file"),
        (legacy, "one in the legacy form"),
        (other.sign("auth.json", b"{}").unwrap(), "which is none of"),
    ] {
        let told = refused(&key.trust(), &signature);
        assert!(told.contains(said), "{told}");
    }
    let unsigned = key.trust().verify("auth.json", b"{}", None).unwrap_err();
    assert!(unsigned.to_string().contains("found none"), "{unsigned}");
}

#[test]
fn without_keys_no_file_needs_a_signature() {
    let none = Trust::default().verify("auth.json", b"{}", None);
    assert_eq!(none, Ok(None));
}

#[test]
fn a_public_key_is_read_from_its_line_or_from_its_file() {
    let keys = new_keys(Password::None).unwrap();
    for text in [&keys.line, &keys.public] {
        assert_eq!(TrustedKey::read(text).unwrap().id(), keys.id);
    }
    for text in ["", "policies.pub", &keys.secret, "RWQ="] {
        assert!(TrustedKey::read(text).is_none(), "{text}");
    }
}

#[test]
fn a_key_with_a_password_signs_with_that_password_only() {
    let given = |password: &str| Password::Given(password.to_owned());
    let keys = new_keys(given("right")).unwrap();
    let key = SigningKey::read(&keys.secret, given("right")).unwrap();
    assert_eq!(key.id(), keys.id);
    let wrong = SigningKey::read(&keys.secret, given("wrong"))
        .err()
        .unwrap();
    assert!(wrong.to_string().contains("the password is wrong"));
    assert!(SigningKey::read("{}", given("right")).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_is_a_signature_by_accident(text in "\\PC{0,400}", line in "[A-Za-z0-9+/=]{0,120}") {
        let key = TrustedKey::read("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3");
        let trust = Trust::new(vec![key.unwrap()]);
        for text in [text.clone(), format!("untrusted comment: {text}\n{line}\ntrusted comment: {text}\n{line}\n")] {
            proptest::prop_assert!(trust.verify("auth.json", text.as_bytes(), Some(text.as_bytes())).is_err());
        }
    }
}
