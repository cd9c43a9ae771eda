//! JOSE headers (RFC 7516, section 4).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{MAX_DEPTH, MAX_HEADER_LEN, algorithm::ContentEncryption};
use crate::{
    Curve, EcPoint, UnwrapError,
    strict_json::{Object, Value},
};

/// What one recipient's joint header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Box<str>,
    pub(super) encryption: Box<str>,
    pub(super) key_id: Option<Box<str>>,
    /// Why the ephemeral key cannot be used is an error of this recipient alone.
    pub(super) ephemeral: Result<EcPoint, Defect>,
    pub(super) apu: Vec<u8>,
    pub(super) apv: Vec<u8>,
}

/// Why one recipient cannot be used, while others may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Defect {
    Malformed(&'static str),
    Unsupported(Box<str>),
}

impl From<Defect> for UnwrapError {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Malformed(reason) => Self::Malformed { reason },
            Defect::Unsupported(name) => Self::unsupported(&name),
        }
    }
}

impl Header {
    /// Joins the three places a header parameter may stand in (RFC 7516, section 7.2.1).
    pub(super) fn join(places: &[&Object]) -> Result<Self, UnwrapError> {
        let joint = Joint(places);
        joint.refuse_repeated_names()?;
        if joint.find("crit").is_some() {
            return Err(UnwrapError::unsupported("crit"));
        }
        if let Some(zip) = joint.find("zip") {
            let name = zip.as_str().unwrap_or_default();
            return Err(UnwrapError::unsupported(&format!("zip={name}")));
        }
        Ok(Self {
            algorithm: joint
                .text("alg")?
                .ok_or(UnwrapError::malformed("no `alg`"))?
                .into(),
            encryption: joint
                .text("enc")?
                .ok_or(UnwrapError::malformed("no `enc`"))?
                .into(),
            key_id: joint.text("kid")?.map(Into::into),
            ephemeral: joint.ephemeral(),
            apu: joint.octets("apu")?,
            apv: joint.octets("apv")?,
        })
    }

    pub(super) fn content_encryption(&self) -> Result<ContentEncryption, UnwrapError> {
        ContentEncryption::from_name(&self.encryption)
            .ok_or_else(|| UnwrapError::unsupported(&self.encryption))
    }
}

/// Decodes the protected header of an object.
pub(super) fn decode_protected(encoded: &str) -> Result<Object, UnwrapError> {
    if encoded.len() > MAX_HEADER_LEN.div_ceil(3) * 4 {
        return Err(UnwrapError::malformed("header too long"));
    }
    let octets = base64url(encoded).ok_or(UnwrapError::malformed("protected header"))?;
    match Value::parse(&octets, MAX_DEPTH) {
        Ok(Value::Object(header)) => Ok(header),
        Ok(_) => Err(UnwrapError::malformed("protected header")),
        Err(error) => Err(UnwrapError::malformed(error.reason())),
    }
}

/// Decodes base64url without padding; anything but the canonical form is refused (RFC 7515, section 2).
pub(super) fn base64url(encoded: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(encoded).ok()
}

struct Joint<'a>(&'a [&'a Object]);

impl Joint<'_> {
    fn refuse_repeated_names(&self) -> Result<(), UnwrapError> {
        for (index, place) in self.0.iter().enumerate() {
            let later = self.0.iter().skip(index + 1);
            if later
                .flat_map(|other| other.keys())
                .any(|name| place.contains_key(name))
            {
                return Err(UnwrapError::malformed("header parameter in two places"));
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.0.iter().find_map(|place| place.get(name))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, UnwrapError> {
        match self.find(name) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .map(Some)
                .ok_or(UnwrapError::malformed("header parameter of the wrong type")),
        }
    }

    fn octets(&self, name: &str) -> Result<Vec<u8>, UnwrapError> {
        match self.text(name)? {
            None => Ok(Vec::new()),
            Some(text) => base64url(text).ok_or(UnwrapError::malformed("`apu` or `apv`")),
        }
    }

    /// Reads `epk` (RFC 7518, section 4.6.1.1): full-length coordinates of a point on the curve, and no private part.
    fn ephemeral(&self) -> Result<EcPoint, Defect> {
        let epk = self
            .find("epk")
            .and_then(Value::as_object)
            .ok_or(Defect::Malformed("no `epk`"))?;
        let text = |name| epk.get(name).and_then(Value::as_str);
        match text("kty") {
            Some("EC") => {}
            Some(other) => return Err(Defect::Unsupported(format!("epk {other}").into())),
            None => return Err(Defect::Malformed("`epk` without `kty`")),
        }
        let name = text("crv").ok_or(Defect::Malformed("`epk` without `crv`"))?;
        let curve = Curve::from_name(name)
            .ok_or_else(|| Defect::Unsupported(format!("epk {name}").into()))?;
        if epk.contains_key("d") {
            return Err(Defect::Malformed("`epk` with a private key"));
        }
        let coordinate = |name| text(name).and_then(base64url);
        coordinate("x")
            .zip(coordinate("y"))
            .and_then(|(x, y)| EcPoint::from_coordinates(curve, &x, &y))
            .ok_or(Defect::Malformed("`epk` is not a point of its curve"))
    }
}
