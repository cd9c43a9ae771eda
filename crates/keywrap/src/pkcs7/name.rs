//! How a recipient is named: by its certificate's issuer and serial number (RFC 5652, section 10.2.4).

use std::fmt;

use der::Decode;
use x509_cert::name::Name;

use super::der::{CONSTRUCTED_0, Reader, SEQUENCE};
use crate::{UnwrapError, error::printable_up_to};

/// Issuer and serial number of a certificate, in the octets of the certificate.
///
/// Compared octet by octet, as every reader of ocicrypt images does.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct IssuerAndSerial {
    /// The DER `Name`.
    issuer: Vec<u8>,
    /// The contents of the INTEGER.
    serial: Vec<u8>,
}

impl IssuerAndSerial {
    /// Reads issuer and serial number out of a DER certificate (RFC 5280, section 4.1), and nothing else.
    pub(crate) fn of_certificate(certificate: &[u8]) -> Result<Self, UnwrapError> {
        let mut certificate = Reader::whole(certificate, SEQUENCE, NOT_A_CERTIFICATE)?;
        let mut content = certificate.enter(SEQUENCE, NOT_A_CERTIFICATE)?;
        if content.peek() == Some(CONSTRUCTED_0) {
            content.next()?;
        }
        let serial = content.integer("serial number")?;
        content.read(SEQUENCE, "signature algorithm")?;
        let issuer = content.read(SEQUENCE, "issuer")?.encoding;
        Ok(Self {
            issuer: issuer.to_vec(),
            serial: serial.to_vec(),
        })
    }

    /// Reads the two members of an `IssuerAndSerialNumber`.
    pub(super) fn read(mut members: Reader<'_>) -> Result<Self, UnwrapError> {
        let issuer = members.read(SEQUENCE, "issuer")?.encoding;
        let serial = members.integer("serial number")?;
        members.end()?;
        Ok(Self {
            issuer: issuer.to_vec(),
            serial: serial.to_vec(),
        })
    }

    /// Borrows the DER `Name`.
    pub(super) fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// Borrows the contents of the INTEGER.
    pub(super) fn serial_octets(&self) -> &[u8] {
        &self.serial
    }

    /// Returns the issuer as RFC 4514 writes it, cut to 256 characters and safe to print.
    pub fn issuer(&self) -> Box<str> {
        match Name::from_der(&self.issuer) {
            Ok(name) => printable_up_to(&name.to_string(), MAX_ISSUER_CHARS),
            Err(_) => "(unreadable name)".into(),
        }
    }

    /// Returns the serial number in hex, without leading zeros, cut to 64 digits.
    pub fn serial(&self) -> Box<str> {
        let digits = hex::encode(self.serial.get(..MAX_SERIAL_LEN).unwrap_or(&self.serial));
        match digits.trim_start_matches('0') {
            "" => "0".into(),
            digits => digits.into(),
        }
    }
}

impl fmt::Display for IssuerAndSerial {
    /// Writes `ISSUER serial HEX`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} serial {}", self.issuer(), self.serial())
    }
}

impl fmt::Debug for IssuerAndSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuerAndSerial({self})")
    }
}

const NOT_A_CERTIFICATE: &str = "not a certificate";

/// Most characters of an issuer that are repeated.
const MAX_ISSUER_CHARS: usize = 256;

/// Most octets of a serial number that are repeated; RFC 5280 allows 20.
const MAX_SERIAL_LEN: usize = 32;
