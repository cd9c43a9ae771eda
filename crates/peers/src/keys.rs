//! Key pairs made by OpenSSL, as people make them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::command::call;
use crate::lab::Lab;

/// Which key to make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyType {
    /// RSA with 2048 bits.
    Rsa2048,
    /// Elliptic curve P-256.
    P256,
    /// Elliptic curve P-384.
    P384,
}

/// The files of a key pair.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// PKCS#8, PEM, mode 0600.
    pub private: PathBuf,
    /// SubjectPublicKeyInfo, PEM.
    pub public: PathBuf,
}

impl KeyPair {
    /// Makes `NAME.pem` and `NAME.pub.pem` in the laboratory.
    #[track_caller]
    pub fn generate(lab: &Lab, name: &str, key_type: KeyType) -> Self {
        let (algorithm, option) = match key_type {
            KeyType::Rsa2048 => ("RSA", "rsa_keygen_bits:2048"),
            KeyType::P256 => ("EC", "ec_paramgen_curve:P-256"),
            KeyType::P384 => ("EC", "ec_paramgen_curve:P-384"),
        };
        let (private, public) = (
            lab.text(format!("{name}.pem")),
            lab.text(format!("{name}.pub.pem")),
        );
        call(
            "openssl",
            &[
                "genpkey",
                "-quiet",
                "-algorithm",
                algorithm,
                "-pkeyopt",
                option,
                "-out",
                &private,
            ],
        );
        call(
            "openssl",
            &["pkey", "-in", &private, "-pubout", "-out", &public],
        );
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            private: private.into(),
            public: public.into(),
        }
    }

    /// Makes `NAME.cert.pem`, a certificate that the key signed for itself.
    #[track_caller]
    pub fn certify(&self, lab: &Lab, name: &str) -> Certificate {
        let file = lab.text(format!("{name}.cert.pem"));
        let (private, subject) = (self.identity(), format!("/O=peers/CN={name}"));
        call(
            "openssl",
            &[
                "req", "-x509", "-new", "-key", &private, "-subj", &subject, "-days", "30", "-out",
                &file,
            ],
        );
        Certificate(file)
    }

    /// `jwe:FILE` of the public key, as skopeo, buildah and sealift take a recipient.
    pub fn recipient(&self) -> String {
        format!("jwe:{}", self.public.display())
    }

    /// The private key's file as text.
    pub fn identity(&self) -> String {
        self.private.display().to_string()
    }
}

/// The file of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate(pub String);

impl Certificate {
    /// `pkcs7:FILE`, as skopeo, buildah and sealift take a recipient.
    pub fn recipient(&self) -> String {
        format!("pkcs7:{}", self.0)
    }
}
