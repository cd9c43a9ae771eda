//! JSON Web Keys and key sets (RFC 7517; RFC 7518, section 6).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use der::{Encode, asn1::UintRef};
use zeroize::Zeroizing;

use super::{KeyError, MAX_KEY_ID_LEN, MAX_KEYS, PrivateKey, PublicKey, der_keys};
use crate::{
    Curve, EcPoint,
    strict_json::{Object, Value},
};

pub(super) fn parse_public(file: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
    each(file, |jwk| {
        if jwk.contains("d") {
            return Err(KeyError::PublicExpected);
        }
        let key = match jwk.kind()? {
            Kind::Rsa => {
                let (modulus, exponent) = (jwk.required("n")?, jwk.required("e")?);
                let key = pkcs1::RsaPublicKeyRef {
                    modulus: unsigned(&modulus)?,
                    public_exponent: unsigned(&exponent)?,
                };
                let der = key
                    .to_der()
                    .map_err(|_| KeyError::malformed("RSA public key"))?;
                der_keys::rsa_public(&der)?
            }
            Kind::Ec(curve) => {
                EcPoint::from_coordinates(curve, &jwk.required("x")?, &jwk.required("y")?)
                    .map(PublicKey::from_point)
                    .ok_or(KeyError::malformed("JWK is not a point of its curve"))?
            }
        };
        key.with_jwk_members(jwk.text("alg")?, jwk.key_id()?)
    })
}

pub(super) fn parse_private(file: &[u8]) -> Result<Vec<PrivateKey>, KeyError> {
    each(file, |jwk| {
        let kind = jwk.kind()?;
        if !jwk.contains("d") {
            return Err(KeyError::PrivateExpected);
        }
        let key = match kind {
            Kind::Rsa => rsa_private(jwk)?,
            Kind::Ec(curve) => ec_private(jwk, curve)?,
        };
        Ok(key.with_key_id(jwk.key_id()?))
    })
}

fn rsa_private(jwk: &Jwk<'_>) -> Result<PrivateKey, KeyError> {
    if jwk.contains("oth") {
        return Err(KeyError::unsupported_type("RSA with more than two primes"));
    }
    if !jwk.contains("p") {
        return Err(KeyError::unsupported_type("RSA JWK without its primes"));
    }
    let member = |name| jwk.required(name);
    let (n, e, d) = (member("n")?, member("e")?, member("d")?);
    let (p, q) = (member("p")?, member("q")?);
    let (dp, dq, qi) = (member("dp")?, member("dq")?, member("qi")?);
    let key = pkcs1::RsaPrivateKeyRef {
        modulus: unsigned(&n)?,
        public_exponent: unsigned(&e)?,
        private_exponent: unsigned(&d)?,
        prime1: unsigned(&p)?,
        prime2: unsigned(&q)?,
        exponent1: unsigned(&dp)?,
        exponent2: unsigned(&dq)?,
        coefficient: unsigned(&qi)?,
        other_prime_infos: None,
    };
    let der = key
        .to_der()
        .map(Zeroizing::new)
        .map_err(|_| KeyError::malformed("RSA private key"))?;
    der_keys::rsa_private(&der)
}

fn ec_private(jwk: &Jwk<'_>, curve: Curve) -> Result<PrivateKey, KeyError> {
    let scalar = jwk.required("d")?;
    if scalar.len() != curve.coordinate_len() {
        return Err(KeyError::malformed("JWK scalar of the wrong length"));
    }
    let public = [&[0x04], &**jwk.required("x")?, &**jwk.required("y")?].concat();
    der_keys::ec_from_scalar(curve, &scalar, Some(&public))
}

fn each<T>(
    file: &[u8],
    read: impl Fn(&Jwk<'_>) -> Result<T, KeyError>,
) -> Result<Vec<T>, KeyError> {
    let value = Value::parse(file.trim_ascii(), MAX_DEPTH)
        .map_err(|error| KeyError::malformed(error.reason()))?;
    let object = value.as_object().ok_or(KeyError::NotAKey)?;
    match object.get("keys") {
        None => Ok(vec![read(&Jwk(object))?]),
        Some(Value::Array(keys)) if keys.len() > MAX_KEYS => {
            Err(KeyError::TooMany { limit: MAX_KEYS })
        }
        Some(Value::Array(keys)) => keys
            .iter()
            .map(|key| {
                read(&Jwk(key
                    .as_object()
                    .ok_or(KeyError::malformed("JWK is not an object"))?))
            })
            .collect(),
        Some(_) => Err(KeyError::malformed("`keys` is not an array")),
    }
}

enum Kind {
    Rsa,
    Ec(Curve),
}

struct Jwk<'a>(&'a Object);

impl Jwk<'_> {
    /// Returns the type, after checking that the key may be used for encryption at all.
    fn kind(&self) -> Result<Kind, KeyError> {
        let kty = self.text("kty")?.ok_or(KeyError::NotAKey)?;
        match self.text("use")? {
            None | Some("enc") => {}
            Some(other) => return Err(KeyError::unsupported_type(&format!("use={other}"))),
        }
        match kty {
            "RSA" => Ok(Kind::Rsa),
            "EC" => {
                let name = self
                    .text("crv")?
                    .ok_or(KeyError::malformed("JWK without `crv`"))?;
                Curve::from_name(name)
                    .map(Kind::Ec)
                    .ok_or_else(|| KeyError::unsupported_curve(name))
            }
            other => Err(KeyError::unsupported_type(&format!("kty={other}"))),
        }
    }

    /// Returns `kid`, which goes into every element for this key and must fit the header that readers accept.
    fn key_id(&self) -> Result<Option<&str>, KeyError> {
        let key_id = self.text("kid")?;
        if key_id.is_some_and(|key_id| key_id.len() > MAX_KEY_ID_LEN) {
            return Err(KeyError::malformed("`kid` longer than 256 octets"));
        }
        Ok(key_id)
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, KeyError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .map(Some)
                .ok_or(KeyError::malformed("JWK member of the wrong type")),
        }
    }

    fn required(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let text = self
            .text(name)?
            .ok_or(KeyError::malformed("JWK lacks a member"))?;
        URL_SAFE_NO_PAD
            .decode(text)
            .map(Zeroizing::new)
            .map_err(|_| KeyError::malformed("JWK member is not base64url"))
    }
}

fn unsigned(octets: &[u8]) -> Result<UintRef<'_>, KeyError> {
    UintRef::new(octets).map_err(|_| KeyError::malformed("JWK integer"))
}

/// Set, array, key, `x5c` or `oth`, and some to spare.
const MAX_DEPTH: usize = 8;
