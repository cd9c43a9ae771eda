use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::ProviderError;
use crate::config::TlsSettings;
use crate::error::Said;

/// Where a gRPC service is, and how it is known to be the right one.
///
/// Layer keys travel on this connection. Without TLS it must not leave the machine: a Unix socket, a loopback address, or
/// `localhost`, of which only loopback addresses are used. Names that merely resolve to loopback today do not count.
#[derive(Clone, Debug)]
pub struct Target {
    text: Box<str>,
    pub(super) place: Place,
    pub(super) tls: Option<TlsSettings>,
}

/// One end of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Unix(PathBuf),
    Host { host: Box<str>, port: u16 },
}

impl Target {
    /// Reads an address as gRPC's libraries write it: `HOST:PORT`, `dns:///HOST:PORT`, `unix:///PATH` or `unix:PATH`.
    ///
    /// # Errors
    /// [`ProviderError`] if it is none, or if keys sent there would not be safe.
    pub fn new(text: &str, tls: Option<&TlsSettings>) -> Result<Self, ProviderError> {
        let shown = Said::new(text.as_bytes()).text();
        let place = Place::parse(text).ok_or_else(|| ProviderError::BadTarget {
            target: shown.clone(),
        })?;
        if tls.is_some_and(|tls| tls.insecure_skip_verify) {
            return Err(ProviderError::SkipVerify);
        }
        if tls.is_none() && !place.is_local() {
            return Err(ProviderError::PlainText { target: shown });
        }
        if let (Some(tls), Place::Unix(_)) = (tls, &place)
            && tls.server_name.is_empty()
        {
            return Err(ProviderError::Tls {
                reason: "a Unix socket has no name, so `server-name` must be given".into(),
            });
        }
        Ok(Self {
            text: shown,
            place,
            tls: tls.cloned(),
        })
    }

    /// Returns whether the service shows a certificate.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns whether what is sent there stays on this machine, whatever the name resolves to.
    pub fn is_local(&self) -> bool {
        self.place.is_local()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = match path.strip_prefix("//") {
                Some(path) if path.starts_with('/') => path,
                Some(_) => return None,
                None => path,
            };
            let sound = !path.is_empty() && !path.contains('\0');
            return sound.then(|| Self::Unix(path.into()));
        }
        let address = text.strip_prefix("dns:///").unwrap_or(text);
        let (host, port) = address.rsplit_once(':')?;
        let host = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(v6) => {
                v6.parse::<std::net::Ipv6Addr>().ok()?;
                v6
            }
            None => {
                let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                if host.is_empty() || host.len() > MAX_HOST_LEN || !host.bytes().all(sound) {
                    return None;
                }
                host
            }
        };
        // `parse` would take a sign.
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self::Host {
            host: host.into(),
            port: port.parse().ok().filter(|port| *port != 0)?,
        })
    }

    /// Returns whether what is sent there stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Host { host, .. } => match host.parse::<IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => host.eq_ignore_ascii_case("localhost"),
            },
        }
    }
}

/// Most octets of a host's name (RFC 1035).
const MAX_HOST_LEN: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, port: u16) -> Option<Place> {
        Some(Place::Host {
            host: host.into(),
            port,
        })
    }

    #[test]
    fn addresses_are_written_as_grpc_has_them() {
        for (text, expected) in [
            ("127.0.0.1:50000", host("127.0.0.1", 50000)),
            ("[::1]:1", host("::1", 1)),
            ("kms.example:443", host("kms.example", 443)),
            ("dns:///kms.example:443", host("kms.example", 443)),
            (
                "unix:///run/p.sock",
                Some(Place::Unix("/run/p.sock".into())),
            ),
            ("unix:/run/p.sock", Some(Place::Unix("/run/p.sock".into()))),
            ("unix:p.sock", Some(Place::Unix("p.sock".into()))),
        ] {
            assert_eq!(Place::parse(text), expected, "{text}");
        }
        for text in [
            "",
            "unix:",
            "unix://host/p.sock",
            "unix:a\0b",
            "kms.example",
            "kms.example:",
            "kms.example:0",
            "kms.example:65536",
            "kms.example:+1",
            "http://kms.example:1",
            "::1:1",
            "[::1]",
            "[kms]:1",
            "kms example:1",
            "user@kms:1",
            "kms/path:1",
        ] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn without_tls_keys_do_not_leave_the_machine() {
        for text in [
            "unix:///s",
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "localhost:1",
            "dns:///LocalHost:1",
        ] {
            assert!(Target::new(text, None).is_ok(), "{text}");
        }
        let tls = TlsSettings::default();
        for text in [
            "10.0.0.1:1",
            "0.0.0.0:1",
            "[::ffff:127.0.0.1]:1",
            "localhost.example:1",
            "kms:1",
        ] {
            let error = Target::new(text, None).unwrap_err();
            assert!(matches!(error, ProviderError::PlainText { .. }), "{text}");
            assert!(Target::new(text, Some(&tls)).is_ok(), "{text}");
        }
    }

    #[test]
    fn tls_that_trusts_anybody_is_refused_wherever_it_leads() {
        let tls = TlsSettings {
            insecure_skip_verify: true,
            ..TlsSettings::default()
        };
        for text in ["unix:///s", "127.0.0.1:1", "kms:1"] {
            let error = Target::new(text, Some(&tls)).unwrap_err();
            assert!(matches!(error, ProviderError::SkipVerify), "{text}");
        }
    }
}
