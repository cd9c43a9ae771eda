//! Writing: flattened JSON with one recipient, as go-jose serialises it.

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    rand,
    rsa::{
        OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{KeyManagement, OaepHash, WrapWidth, concat_kdf, key_wrap};
use crate::{
    EcPoint, KeyAgreement, LayerSecret, MAX_ELEMENT_LEN, WrapError, agreement::LocalAgreement,
};

/// Wraps `secret` for an RSA key.
pub(crate) fn wrap_for_rsa(
    key: &PublicEncryptingKey,
    hash: OaepHash,
    key_id: Option<&str>,
    secret: &LayerSecret,
) -> Result<Vec<u8>, WrapError> {
    let key = OaepPublicEncryptingKey::new(key.clone()).map_err(|_| WrapError::Refused)?;
    let algorithm = match hash {
        OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
    };
    let fresh = Fresh::draw()?;
    let mut encrypted_key = vec![0; key.ciphertext_size()];
    key.encrypt(algorithm, &*fresh.cek, &mut encrypted_key, None)
        .map_err(|_| WrapError::Refused)?;
    let header = protected(KeyManagement::RsaOaep(hash), None, key_id);
    seal(&fresh, &header, &encrypted_key, secret)
}

/// Wraps `secret` for an elliptic-curve key, with an ephemeral key that is used once.
pub(crate) fn wrap_for_ec(
    recipient: &EcPoint,
    width: WrapWidth,
    key_id: Option<&str>,
    secret: &LayerSecret,
) -> Result<Vec<u8>, WrapError> {
    let fresh = Fresh::draw()?;
    let ephemeral = LocalAgreement::generate(recipient.curve()).ok_or(WrapError::Randomness)?;
    wrap_with_ephemeral(recipient, &ephemeral, width, key_id, &fresh, secret)
}

fn wrap_with_ephemeral(
    recipient: &EcPoint,
    ephemeral: &LocalAgreement,
    width: WrapWidth,
    key_id: Option<&str>,
    fresh: &Fresh,
    secret: &LayerSecret,
) -> Result<Vec<u8>, WrapError> {
    let algorithm = KeyManagement::EcdhEs(width);
    let shared = ephemeral.agree(recipient).map_err(|_| WrapError::Refused)?;
    let kek = concat_kdf::derive(&shared, algorithm.name(), width.key_len(), b"", b"");
    let encrypted_key = key_wrap::wrap(width, &kek, &*fresh.cek).ok_or(WrapError::Refused)?;
    let public = ephemeral.public().ok_or(WrapError::Refused)?;
    let header = protected(algorithm, Some(&public), key_id);
    seal(fresh, &header, &encrypted_key, secret)
}

/// What must never be used twice.
struct Fresh {
    cek: Zeroizing<[u8; 32]>,
    iv: [u8; 12],
}

impl Fresh {
    fn draw() -> Result<Self, WrapError> {
        let mut fresh = Self {
            cek: Zeroizing::new([0; 32]),
            iv: [0; 12],
        };
        rand::fill(&mut *fresh.cek).map_err(|_| WrapError::Randomness)?;
        rand::fill(&mut fresh.iv).map_err(|_| WrapError::Randomness)?;
        Ok(fresh)
    }
}

/// Renders the protected header; go-jose sorts the names: `alg`, `enc`, `epk`, `kid`.
fn protected(algorithm: KeyManagement, epk: Option<&EcPoint>, key_id: Option<&str>) -> String {
    let mut json = format!(r#"{{"alg":"{}","enc":"A256GCM""#, algorithm.name());
    if let Some(point) = epk {
        let (x, y) = point.coordinates();
        json.push_str(&format!(
            r#","epk":{{"kty":"EC","crv":"{}","x":"{}","y":"{}"}}"#,
            point.curve().name(),
            URL_SAFE_NO_PAD.encode(x),
            URL_SAFE_NO_PAD.encode(y),
        ));
    }
    if let Some(key_id) = key_id {
        json.push_str(r#","kid":"#);
        json.push_str(&go_string(key_id));
    }
    json.push('}');
    URL_SAFE_NO_PAD.encode(json)
}

/// Quotes a string as Go's `encoding/json` does.
fn go_string(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn seal(
    fresh: &Fresh,
    protected: &str,
    encrypted_key: &[u8],
    secret: &LayerSecret,
) -> Result<Vec<u8>, WrapError> {
    let key = UnboundKey::new(&aead::AES_256_GCM, &*fresh.cek).map_err(|_| WrapError::Refused)?;
    let mut ciphertext = Zeroizing::new(secret.expose().to_vec());
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(fresh.iv),
            Aad::from(protected),
            &mut ciphertext,
        )
        .map_err(|_| WrapError::Refused)?;
    let json = format!(
        r#"{{"protected":"{protected}","encrypted_key":"{}","iv":"{}","ciphertext":"{}","tag":"{}"}}"#,
        URL_SAFE_NO_PAD.encode(encrypted_key),
        URL_SAFE_NO_PAD.encode(fresh.iv),
        URL_SAFE_NO_PAD.encode(&*ciphertext),
        URL_SAFE_NO_PAD.encode(tag),
    );
    if json.len() > MAX_ELEMENT_LEN {
        return Err(WrapError::TooLong {
            limit: MAX_ELEMENT_LEN,
        });
    }
    Ok(json.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Curve;

    /// Wraps with everything that is otherwise random, as `testdata/keywrap/generate.py` derived it.
    fn wrap(curve: Curve, width: WrapWidth, scalars: [&str; 2], cek: &str, iv: &str) -> String {
        let key = |scalar| {
            let scalar = hex::decode(scalar).expect("hex");
            LocalAgreement::from_scalar(curve, &scalar).expect("a key")
        };
        let [recipient, ephemeral] = scalars.map(key);
        let mut fresh = Fresh {
            cek: Zeroizing::new([0; 32]),
            iv: [0; 12],
        };
        hex::decode_to_slice(cek, &mut *fresh.cek).expect("hex");
        hex::decode_to_slice(iv, &mut fresh.iv).expect("hex");
        let secret = include_bytes!("../../../../testdata/keywrap/skopeo/jwe-ec256.secret.json");
        let secret = LayerSecret::new(Zeroizing::new(secret.to_vec()));
        let recipient = recipient.public().expect("a point");
        let element = wrap_with_ephemeral(&recipient, &ephemeral, width, None, &fresh, &secret);
        String::from_utf8(element.expect("wraps")).expect("text")
    }

    fn element(vector: &str) -> String {
        let vector: serde_json::Value = serde_json::from_str(vector).expect("JSON");
        vector["element"].as_str().expect("an element").to_owned()
    }

    #[test]
    fn an_element_is_octet_for_octet_what_the_generator_writes() {
        assert_eq!(
            wrap(
                Curve::P256,
                WrapWidth::A256,
                [
                    "45e7998bbac944ae5905c10afd10445d3edf73363ab5c31748442ffd29b487",
                    "63d7a1f6f650f3fa23f98ab266acff659fb059171ffde5bca7f68269afd8b1"
                ],
                "dc260234ca1132df6944e63d61b59f0d64b0155880473e03579100da4134449d",
                "c828f36ef9cfa75a5999ee70",
            ),
            element(include_str!(
                "../../../../testdata/keywrap/jwe/alg_ecdh-es_a256kw_p-256.json"
            ))
        );
        assert_eq!(
            wrap(
                Curve::P521,
                WrapWidth::A192,
                [
                    "45e7998bbac944ae5905c10afd10445d3edf73363ab5c31748442ffd29b487d9791a4ce4d6f2bbba16edc2c9fb5c8d0df4fbc26dd32490895923c42d28f47b7d81",
                    "723a2e3b10eff5118e13ff6683b0b1d40c7a84d4e05b0c34f6a80e4b60b3433cd69f1fc1307df1f5dad4df107443d19a06a93592f032afc87c2357c1f45bfabea9"
                ],
                "251f1b11d57d6fb36332c50e9a582dc28aefbaf2c42e2b5281a3eece72027227",
                "429c0a4eab38ef46e73feae4",
            ),
            element(include_str!(
                "../../../../testdata/keywrap/jwe/alg_ecdh-es_a192kw_p-521.json"
            ))
        );
    }
}
