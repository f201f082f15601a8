//! Classifies a root certificate: whether OpenSSL and rustls would trust the same because of it.
//!
//! Trust depends on it, so a strict X.509 parser reads all of the certificate. Neither of the two libraries is asked: the
//! gateway links none.

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

/// Bytes of a certificate in DER. Roots have one or two thousand.
const MAX_BYTES: usize = 64 << 10;

/// The kind of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The certificate vouches for others, and is not a server's own: both libraries trust the same.
    Authority,
    /// The certificate vouches for no other. To OpenSSL it is a server's own certificate; to rustls it would be an authority.
    Server,
    /// The certificate does both, or says neither: OpenSSL takes it as both, rustls only as an authority.
    /// A certificate that cannot be read is of this kind, too.
    Unclear,
}

impl Kind {
    /// The kind of a certificate in DER.
    pub(super) fn of(der: &[u8]) -> Self {
        if der.len() > MAX_BYTES {
            return Self::Unclear;
        }
        read(der).unwrap_or(Self::Unclear)
    }
}

/// Fails on a certificate that is not DER to its last byte, or that has one of the two extensions twice.
fn read(der: &[u8]) -> x509_cert::der::Result<Kind> {
    let certificate = Certificate::from_der(der)?;
    let certificate = certificate.tbs_certificate();
    let constraints = certificate.get_extension::<BasicConstraints>()?;
    let names = certificate.get_extension::<SubjectAltName>()?;
    let is_servers = names.is_some_and(|(_, names)| names.0.iter().any(is_servers));
    Ok(match constraints {
        Some((_, constraints)) if !constraints.ca => Kind::Server,
        Some(_) if !is_servers => Kind::Authority,
        _ => Kind::Unclear,
    })
}

/// Whether TLS clients look for a server's name there. Exhaustive: a kind of name that the crate learns is decided on here.
fn is_servers(name: &GeneralName) -> bool {
    match name {
        GeneralName::DnsName(_) | GeneralName::IpAddress(_) => true,
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::RegisteredId(_) => false,
    }
}

#[cfg(test)]
pub(super) mod tests;
