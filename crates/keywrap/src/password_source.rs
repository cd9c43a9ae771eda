//! Where a private key and its password come from: `FILE[:pass=PW|:file=PWFILE|:fd=N|:env=VAR]`.

use std::path::PathBuf;

use crate::{Password, SpecError};

/// A private-key file and the source of its password. Nothing has been read yet.
#[derive(Debug)]
pub struct KeyFile {
    /// The key file.
    pub path: PathBuf,
    /// Its password, if the key is encrypted.
    pub password: Option<PasswordSource>,
}

/// Where a password comes from.
#[derive(Debug)]
pub enum PasswordSource {
    /// Given on the command line, where other processes can see it.
    Literal(Password),
    /// The content of a file.
    File(PathBuf),
    /// What is read from an open file descriptor.
    Descriptor(u32),
    /// The value of an environment variable.
    Variable(Box<str>),
}

impl KeyFile {
    /// Splits an argument at the first `:pass=`, `:file=`, `:fd=` or `:env=`; any other colon belongs to the file name.
    ///
    /// So `C:\k.pem` is a file, and everything behind the marker belongs to the password, colons and further
    /// markers included: cutting at a later one would put part of a password into a file name, and so into an error.
    ///
    /// # Errors
    /// [`SpecError`] if the file, or what the marker announces, is missing or no number.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let split = MARKERS
            .iter()
            .filter_map(|marker| Some((text.find(marker)?, *marker)))
            .min();
        let (path, password) = match split {
            None => (text, None),
            Some((at, marker)) => {
                let (path, rest) = text.split_at(at);
                let value = rest.strip_prefix(marker).unwrap_or_default();
                (path, Some(PasswordSource::parse(marker, value)?))
            }
        };
        if path.is_empty() {
            return Err(SpecError::MissingFile);
        }
        Ok(Self {
            path: path.into(),
            password,
        })
    }
}

impl PasswordSource {
    fn parse(marker: &'static str, value: &str) -> Result<Self, SpecError> {
        match marker {
            PASS => Ok(Self::Literal(value.into())),
            _ if value.is_empty() => Err(SpecError::MissingValue {
                name: marker.trim_matches([':', '=']).into(),
            }),
            FILE => Ok(Self::File(value.into())),
            FD if value.bytes().all(|b| b.is_ascii_digit()) => value
                .parse()
                .map(Self::Descriptor)
                .map_err(|_| SpecError::NotADescriptor),
            FD => Err(SpecError::NotADescriptor),
            _ => Ok(Self::Variable(value.into())),
        }
    }
}

const PASS: &str = ":pass=";
const FILE: &str = ":file=";
const FD: &str = ":fd=";
const ENV: &str = ":env=";
const MARKERS: [&str; 4] = [PASS, FILE, FD, ENV];

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String) {
        let file = KeyFile::parse(text).expect("a key file");
        let password = match file.password {
            None => "none".into(),
            Some(PasswordSource::Literal(password)) => {
                format!("pass {}", str::from_utf8(password.expose()).expect("text"))
            }
            Some(PasswordSource::File(path)) => format!("file {}", path.display()),
            Some(PasswordSource::Descriptor(number)) => format!("fd {number}"),
            Some(PasswordSource::Variable(name)) => format!("env {name}"),
        };
        (file.path.display().to_string(), password)
    }

    #[test]
    fn only_a_known_marker_ends_the_file_name() {
        for (text, path, password) in [
            ("k.pem", "k.pem", "none"),
            ("k.pem:pass=secret", "k.pem", "pass secret"),
            ("k.pem:pass=", "k.pem", "pass "),
            ("k.pem:pass=a:b=c", "k.pem", "pass a:b=c"),
            ("k.pem:pass=a:file=b", "k.pem", "pass a:file=b"),
            ("k.pem:file=pw.txt", "k.pem", "file pw.txt"),
            (r"k.pem:file=D:\pw", "k.pem", r"file D:\pw"),
            ("k.pem:fd=3", "k.pem", "fd 3"),
            ("k.pem:env=PW", "k.pem", "env PW"),
            (r"C:\k.pem", r"C:\k.pem", "none"),
            (r"C:\k.pem:pass=x", r"C:\k.pem", "pass x"),
            ("a:b.pem", "a:b.pem", "none"),
            ("k.pem:secret", "k.pem:secret", "none"),
            ("k.pem:PASS=x", "k.pem:PASS=x", "none"),
        ] {
            assert_eq!(parts(text), (path.into(), password.into()), "{text}");
        }
    }

    #[test]
    fn refuses_what_names_nothing() {
        let error = |text| KeyFile::parse(text).map(|_| ()).unwrap_err();
        assert_eq!(error(""), SpecError::MissingFile);
        assert_eq!(error(":pass=x"), SpecError::MissingFile);
        assert_eq!(
            error("k:file="),
            SpecError::MissingValue {
                name: "file".into()
            }
        );
        assert_eq!(
            error("k:env="),
            SpecError::MissingValue { name: "env".into() }
        );
        assert_eq!(
            error("k:fd="),
            SpecError::MissingValue { name: "fd".into() }
        );
        for text in ["k:fd=x", "k:fd=-1", "k:fd=+1", "k:fd=4294967296", "k:fd=3 "] {
            assert_eq!(error(text), SpecError::NotADescriptor, "{text}");
        }
    }

    #[test]
    fn debug_output_hides_the_password() {
        let file = KeyFile::parse("k.pem:pass=hunter2").expect("a key file");
        assert!(!format!("{file:?}").contains("hunter2"));
    }
}
