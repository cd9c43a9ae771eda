//! A module that is loaded, in the worker: tokens, logins, keys, operations.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use sealift_keywrap::Curve;
use sealift_keywrap::jwe::OaepHash;
use sealift_keywrap::pkcs11::{Pin, TokenUri, oaep};
use zeroize::Zeroizing;

use crate::TokenError;
use crate::error::{PRIVATE, PUBLIC, printable};
use crate::protocol::{Caution, Class, Found, Numbers};

/// A loaded module.
pub(crate) struct Module {
    /// Its file.
    path: PathBuf,
    context: Pkcs11,
    slots: BTreeMap<u64, Open>,
    keys: Vec<Key>,
}

/// A token that is in use.
struct Open {
    session: Session,
    /// How the one login of this run ended.
    login: Option<Result<(), TokenError>>,
}

/// A private key that was found.
struct Key {
    slot: u64,
    handle: ObjectHandle,
    kind: Kind,
}

enum Kind {
    Rsa {
        modulus_len: usize,
        /// Whether the token cannot unpad OAEP itself; one answer per hash.
        raw: [bool; 2],
    },
    Ec(Curve),
    /// Found to be read only.
    Public,
}

impl Module {
    pub(crate) fn load(path: &str) -> Result<Self, TokenError> {
        let failed = |error: Error| TokenError::ModuleLoad {
            reason: printable(&error.to_string()),
        };
        let context = Pkcs11::new(path).map_err(failed)?;
        context
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(failed)?;
        Ok(Self {
            path: path.into(),
            context,
            slots: BTreeMap::new(),
            keys: Vec::new(),
        })
    }

    /// Ends all sessions, and with them the logins.
    pub(crate) fn finish(self) {
        drop(self.slots);
        let _ = self.context.finalize();
    }

    /// Finds the one key that a URI names; a private key after logging in.
    pub(crate) fn find(
        &mut self,
        uri: &str,
        class: Class,
        caution: Caution,
        pin: Option<Pin>,
    ) -> Result<Found, TokenError> {
        let uri = TokenUri::parse(uri).map_err(|_| TokenError::Protocol)?;
        let slot = self.slot(&uri)?;
        if !self.slots.contains_key(&slot.id()) {
            let session = self.context.open_ro_session(slot).map_err(device)?;
            let open = Open {
                session,
                login: None,
            };
            self.slots.insert(slot.id(), open);
        }
        let open = self.slots.get_mut(&slot.id()).ok_or(TokenError::Protocol)?;
        if class == Class::Private || pin.is_some() {
            let context = &self.context;
            let info = || context.get_token_info(slot).map_err(device);
            open.log_in(info, &self.path, caution, pin)?;
        }
        let handle = key_of(&open.session, &uri, class)?;
        let numbers = numbers(&open.session, handle, class)?;
        if class == Class::Private {
            check_use(&open.session, handle, &numbers)?;
        }
        let kind = match (&numbers, class) {
            (_, Class::Public) => Kind::Public,
            (Numbers::Rsa { modulus, .. }, _) => Kind::Rsa {
                modulus_len: modulus.len(),
                raw: [false; 2],
            },
            (Numbers::Ec { curve, .. }, _) => Kind::Ec(*curve),
        };
        if self.keys.len() >= MAX_KEYS {
            return Err(TokenError::Protocol);
        }
        let key = u32::try_from(self.keys.len()).map_err(|_| TokenError::Protocol)?;
        self.keys.push(Key {
            slot: slot.id(),
            handle,
            kind,
        });
        Ok(Found { key, numbers })
    }

    /// Returns the one slot whose token fits.
    fn slot(&self, uri: &TokenUri) -> Result<Slot, TokenError> {
        let mut there = Vec::new();
        let mut fitting = Vec::new();
        for slot in self.context.get_slots_with_token().map_err(device)? {
            let Ok(token) = self.context.get_token_info(slot) else {
                continue;
            };
            if !token.token_initialized() {
                continue;
            }
            let name = format!(
                "`{}` (serial {}, slot-id {})",
                token.label(),
                token.serial_number(),
                slot.id()
            );
            if self.fits(uri, slot, &token) {
                fitting.push((slot, name.clone()));
            }
            there.push(name);
        }
        match &fitting[..] {
            [(slot, _)] => Ok(*slot),
            [] => Err(TokenError::NoSuchToken {
                wanted: printable(&uri.to_string()),
                there: listed(there),
            }),
            several => Err(TokenError::SeveralTokens {
                wanted: printable(&uri.to_string()),
                there: listed(several.iter().map(|(_, name)| name.clone()).collect()),
            }),
        }
    }

    fn fits(&self, uri: &TokenUri, slot: Slot, token: &TokenInfo) -> bool {
        let same = |name: &str, value: &str| uri.text(name).is_none_or(|wanted| wanted == value);
        let described = |name: &str| uri.text(name).is_some();
        let slot_fits = || {
            if !described("slot-description") && !described("slot-manufacturer") {
                return true;
            }
            self.context.get_slot_info(slot).is_ok_and(|info| {
                same("slot-description", info.slot_description())
                    && same("slot-manufacturer", info.manufacturer_id())
            })
        };
        same("token", token.label())
            && same("manufacturer", token.manufacturer_id())
            && same("serial", token.serial_number())
            && same("model", token.model())
            && uri.slot_id().is_none_or(|number| number == slot.id())
            && slot_fits()
    }

    /// Decrypts RSAES-OAEP; `None` if the ciphertext is not for this key, whatever is wrong with it.
    pub(crate) fn decrypt(
        &mut self,
        number: u32,
        hash: OaepHash,
        ciphertext: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, TokenError> {
        let number = usize::try_from(number).map_err(|_| TokenError::Protocol)?;
        let key = self.keys.get_mut(number).ok_or(TokenError::Protocol)?;
        let open = self.slots.get(&key.slot).ok_or(TokenError::Protocol)?;
        let Kind::Rsa { modulus_len, raw } = &mut key.kind else {
            return Err(TokenError::Protocol);
        };
        if ciphertext.len() != *modulus_len {
            return Ok(None);
        }
        let (digest, mask, raw) = match (hash, raw) {
            (OaepHash::Sha1, [raw, _]) => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, raw),
            (OaepHash::Sha256, [_, raw]) => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, raw),
        };
        if !*raw {
            let parameters = PkcsOaepParams::new(digest, mask, PkcsOaepSource::empty());
            let mechanism = Mechanism::RsaPkcsOaep(parameters);
            match open.session.decrypt(&mechanism, key.handle, ciphertext) {
                Ok(plaintext) => return Ok(Some(Zeroizing::new(plaintext))),
                Err(error) if is_refused_mechanism(&error) => *raw = true,
                Err(error) => return verdict(error).map(|()| None),
            }
        }
        let slot = Slot::try_from(key.slot).map_err(device)?;
        let offered = self.context.get_mechanism_list(slot).map_err(device)?;
        if !offered.contains(&MechanismType::RSA_X_509) {
            return Err(TokenError::Mechanism {
                name: match hash {
                    OaepHash::Sha1 => "RSA-OAEP with SHA-1, nor the raw RSA operation".into(),
                    OaepHash::Sha256 => "RSA-OAEP with SHA-256, nor the raw RSA operation".into(),
                },
            });
        }
        let encoded = match open
            .session
            .decrypt(&Mechanism::RsaX509, key.handle, ciphertext)
        {
            Ok(encoded) => Zeroizing::new(encoded),
            Err(error) => return verdict(error).map(|()| None),
        };
        // PKCS #11 wants the whole modulus length; some tokens leave zeros out that lead.
        let Some(missing) = modulus_len.checked_sub(encoded.len()) else {
            return Ok(None);
        };
        let mut padded = Zeroizing::new(vec![0; *modulus_len]);
        if let Some(target) = padded.get_mut(missing..) {
            target.copy_from_slice(&encoded);
        }
        Ok(oaep::decode(hash, &padded))
    }

    /// Agrees on the x-coordinate of a shared point.
    pub(crate) fn agree(
        &mut self,
        number: u32,
        point: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let number = usize::try_from(number).map_err(|_| TokenError::Protocol)?;
        let key = self.keys.get(number).ok_or(TokenError::Protocol)?;
        let open = self.slots.get(&key.slot).ok_or(TokenError::Protocol)?;
        let Kind::Ec(curve) = key.kind else {
            return Err(TokenError::Protocol);
        };
        let derived = match derive(&open.session, key.handle, curve, point) {
            // PKCS #11 lets a token insist on an OCTET STRING.
            Err(Error::Pkcs11(
                RvError::MechanismParamInvalid | RvError::ArgumentsBad,
                Function::DeriveKey,
            )) => {
                let wrapped = octet_string(point).ok_or(TokenError::Protocol)?;
                derive(&open.session, key.handle, curve, &wrapped)
            }
            other => other,
        };
        let handle = derived.map_err(|error| match error {
            Error::Pkcs11(RvError::MechanismInvalid, _) => TokenError::Mechanism {
                name: "ECDH (CKM_ECDH1_DERIVE)".into(),
            },
            Error::Pkcs11(RvError::KeyFunctionNotPermitted, _) => TokenError::Key {
                reason: "it may not derive keys (CKA_DERIVE)".into(),
            },
            other => device(other),
        })?;
        let value = value_of(&open.session, handle);
        let _ = open.session.destroy_object(handle);
        let value = value?;
        let len = curve.coordinate_len();
        let missing = len
            .checked_sub(value.len())
            .ok_or_else(|| TokenError::Device {
                reason: "the shared secret is longer than its curve".into(),
            })?;
        let mut padded = Zeroizing::new(vec![0; len]);
        if let Some(target) = padded.get_mut(missing..) {
            target.copy_from_slice(&value);
        }
        Ok(padded)
    }
}

impl Open {
    /// Logs in, once per run: a second try with a wrong PIN would take the token nearer to being locked.
    fn log_in(
        &mut self,
        look: impl Fn() -> Result<TokenInfo, TokenError>,
        module: &Path,
        caution: Caution,
        pin: Option<Pin>,
    ) -> Result<(), TokenError> {
        if let Some(outcome) = &self.login {
            return outcome.clone();
        }
        let info = look()?;
        if !info.login_required() {
            return Ok(());
        }
        let protected = info.protected_authentication_path();
        if pin.is_none() && !protected {
            return Err(TokenError::PinMissing);
        }
        // Those that start together for the layers of one image look one after the other, each at what the one before it left.
        let turn = (caution == Caution::Unattended).then(|| take_turn(module));
        let outcome = self.try_pin(&look()?, caution, pin);
        drop(turn);
        self.login = Some(outcome.clone());
        outcome
    }

    fn try_pin(
        &self,
        info: &TokenInfo,
        caution: Caution,
        pin: Option<Pin>,
    ) -> Result<(), TokenError> {
        if info.user_pin_locked() {
            return Err(TokenError::PinLocked);
        }
        if !info.user_pin_initialized() {
            return Err(TokenError::PinNotSet);
        }
        let remembers = info.user_pin_final_try()
            || (caution == Caution::Unattended && info.user_pin_count_low());
        if remembers {
            return Err(TokenError::PinAtRisk);
        }
        let result = match pin {
            Some(pin) => {
                let secret = RawAuthPin::new(Box::new(pin.expose().to_vec()));
                self.session.login_with_raw(UserType::User, &secret)
            }
            None => self.session.login(UserType::User, None),
        };
        match result {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => Err(TokenError::PinWrong),
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::PinLocked),
            Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => Err(TokenError::PinNotSet),
            Err(error) => Err(device(error)),
        }
    }
}

/// Waits until no other process of ours tries a PIN through this module, as long as that is bearable: whoever can read the
/// file could hold the lock for ever.
fn take_turn(module: &Path) -> Option<File> {
    let file = File::open(module).ok()?;
    let began = Instant::now();
    // A file system that knows no locks is none to wait for.
    while let Err(TryLockError::WouldBlock) = file.try_lock() {
        if began.elapsed() > TURN {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    Some(file)
}

/// Finds the one key that fits.
fn key_of(session: &Session, uri: &TokenUri, class: Class) -> Result<ObjectHandle, TokenError> {
    let (object_class, word) = match class {
        Class::Private => (ObjectClass::PRIVATE_KEY, PRIVATE),
        Class::Public => (ObjectClass::PUBLIC_KEY, PUBLIC),
    };
    let every = [Attribute::Class(object_class)];
    let mut template = every.to_vec();
    template.extend(uri.object().map(|label| Attribute::Label(label.into())));
    template.extend(uri.id().map(|id| Attribute::Id(id.to_vec())));
    let found = session.find_objects(&template).map_err(device)?;
    let names = |handles: Vec<ObjectHandle>| {
        let names = handles.into_iter().take(MAX_LISTED);
        listed(names.map(|handle| name_of(session, handle)).collect())
    };
    match &found[..] {
        [handle] => Ok(*handle),
        [] => Err(TokenError::NoSuchKey {
            class: word,
            wanted: printable(&uri.to_string()),
            there: names(session.find_objects(&every).map_err(device)?),
        }),
        _ => Err(TokenError::SeveralKeys {
            class: word,
            wanted: printable(&uri.to_string()),
            there: names(found),
        }),
    }
}

fn name_of(session: &Session, handle: ObjectHandle) -> String {
    let mut label = String::new();
    let mut id = String::new();
    let attributes = [AttributeType::Label, AttributeType::Id];
    for attribute in session
        .get_attributes(handle, &attributes)
        .unwrap_or_default()
    {
        match attribute {
            Attribute::Label(octets) => label = String::from_utf8_lossy(&octets).into_owned(),
            Attribute::Id(octets) => {
                id = octets.iter().map(|octet| format!("%{octet:02X}")).collect();
            }
            _ => {}
        }
    }
    format!("`{label}` (id={id})")
}

/// Reads the public half of a key.
fn numbers(session: &Session, handle: ObjectHandle, class: Class) -> Result<Numbers, TokenError> {
    let of = |handle, attribute| -> Vec<u8> {
        let found = session.get_attributes(handle, &[attribute]);
        match found.unwrap_or_default().pop() {
            Some(
                Attribute::Modulus(octets)
                | Attribute::PublicExponent(octets)
                | Attribute::EcParams(octets)
                | Attribute::EcPoint(octets)
                | Attribute::Id(octets)
                | Attribute::Label(octets),
            ) => octets,
            _ => Vec::new(),
        }
    };
    let kind = session.get_attributes(handle, &[AttributeType::KeyType]);
    let Some(Attribute::KeyType(kind)) = kind.map_err(device)?.pop() else {
        return Err(TokenError::Key {
            reason: "the token does not tell its kind".into(),
        });
    };
    match kind {
        KeyType::RSA => {
            let modulus = of(handle, AttributeType::Modulus);
            let zeros = modulus.iter().take_while(|octet| **octet == 0).count();
            let modulus = modulus.get(zeros..).unwrap_or_default().to_vec();
            if modulus.is_empty() {
                return Err(TokenError::Key {
                    reason: "the token does not tell its modulus".into(),
                });
            }
            let exponent = of(handle, AttributeType::PublicExponent);
            Ok(Numbers::Rsa { modulus, exponent })
        }
        KeyType::EC => {
            let parameters = of(handle, AttributeType::EcParams);
            let curve = curve_of(&parameters).ok_or_else(|| TokenError::Key {
                reason: "its curve is none of P-256, P-384 and P-521".into(),
            })?;
            let mut point = of(handle, AttributeType::EcPoint);
            if point.is_empty() && class == Class::Private {
                // Only the public half tells the point; it has the same identifier.
                let id = of(handle, AttributeType::Id);
                let template = [
                    Attribute::Class(ObjectClass::PUBLIC_KEY),
                    Attribute::KeyType(KeyType::EC),
                    Attribute::Id(id.clone()),
                ];
                let halves = match id.is_empty() {
                    true => Vec::new(),
                    false => session.find_objects(&template).unwrap_or_default(),
                };
                if let [half] = &halves[..] {
                    point = of(*half, AttributeType::EcPoint);
                }
            }
            Ok(Numbers::Ec {
                curve,
                point: bare_point(curve, &point).unwrap_or_default(),
            })
        }
        _ => Err(TokenError::Key {
            reason: "it is neither RSA nor of an elliptic curve".into(),
        }),
    }
}

/// Refuses a private key that cannot do what it is for, before it is asked to.
fn check_use(session: &Session, handle: ObjectHandle, numbers: &Numbers) -> Result<(), TokenError> {
    let is = |attribute: AttributeType, expected: bool| {
        let found = session.get_attributes(handle, &[attribute]);
        match found.unwrap_or_default().pop() {
            Some(
                Attribute::AlwaysAuthenticate(value)
                | Attribute::Decrypt(value)
                | Attribute::Derive(value),
            ) => value == expected,
            // A token that does not tell is asked to try.
            _ => false,
        }
    };
    let refused = |reason: &str| {
        Err(TokenError::Key {
            reason: reason.into(),
        })
    };
    if is(AttributeType::AlwaysAuthenticate, true) {
        return refused("it wants its PIN for every use (CKA_ALWAYS_AUTHENTICATE)");
    }
    match numbers {
        Numbers::Rsa { .. } if is(AttributeType::Decrypt, false) => {
            refused("it may not decrypt (CKA_DECRYPT)")
        }
        Numbers::Ec { .. } if is(AttributeType::Derive, false) => {
            refused("it may not derive keys (CKA_DERIVE)")
        }
        _ => Ok(()),
    }
}

fn derive(
    session: &Session,
    key: ObjectHandle,
    curve: Curve,
    point: &[u8],
) -> Result<ObjectHandle, Error> {
    let parameters = Ecdh1DeriveParams::new(EcKdf::null(), point);
    let len = curve.coordinate_len().try_into()?;
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::ValueLen(len),
    ];
    session.derive_key(&Mechanism::Ecdh1Derive(parameters), key, &template)
}

fn value_of(session: &Session, handle: ObjectHandle) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let found = session.get_attributes(handle, &[AttributeType::Value]);
    match found.map_err(device)?.pop() {
        Some(Attribute::Value(octets)) => Ok(Zeroizing::new(octets)),
        _ => Err(TokenError::Device {
            reason: "it keeps the shared secret to itself".into(),
        }),
    }
}

/// Returns whether a token refused the mechanism before it looked at the ciphertext.
fn is_refused_mechanism(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::ArgumentsBad
                | RvError::MechanismInvalid
                | RvError::MechanismParamInvalid
                | RvError::FunctionNotSupported,
            Function::DecryptInit
        )
    )
}

/// Tells a token that failed from a ciphertext that is not for this key: `Ok` for the latter.
///
/// Tokens name the reasons of the latter differently, so what is named here is what is surely about the token itself.
fn verdict(error: Error) -> Result<(), TokenError> {
    match error {
        Error::Pkcs11(
            RvError::KeyFunctionNotPermitted | RvError::KeyTypeInconsistent,
            Function::DecryptInit,
        ) => Err(TokenError::Key {
            reason: "it may not decrypt (CKA_DECRYPT)".into(),
        }),
        Error::Pkcs11(
            RvError::DeviceError
            | RvError::DeviceMemory
            | RvError::DeviceRemoved
            | RvError::HostMemory
            | RvError::TokenNotPresent
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::CryptokiNotInitialized
            | RvError::OperationActive,
            _,
        ) => Err(device(error)),
        Error::Pkcs11(_, Function::Decrypt) => Ok(()),
        other => Err(device(other)),
    }
}

fn device(error: Error) -> TokenError {
    TokenError::Device {
        reason: printable(&error.to_string()),
    }
}

fn listed(names: Vec<String>) -> Box<str> {
    if names.is_empty() {
        return "none".into();
    }
    let more = names.len().saturating_sub(MAX_LISTED);
    let mut text = names
        .into_iter()
        .take(MAX_LISTED)
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    printable(&text)
}

/// Recognises the DER object identifier in `CKA_EC_PARAMS`.
fn curve_of(parameters: &[u8]) -> Option<Curve> {
    [
        (
            Curve::P256,
            &b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"[..],
        ),
        (Curve::P384, b"\x06\x05\x2b\x81\x04\x00\x22"),
        (Curve::P521, b"\x06\x05\x2b\x81\x04\x00\x23"),
    ]
    .into_iter()
    .find(|(_, oid)| *oid == parameters)
    .map(|(curve, _)| curve)
}

/// Takes `04 ‖ x ‖ y` out of the OCTET STRING that `CKA_EC_POINT` is, or should be.
fn bare_point(curve: Curve, octets: &[u8]) -> Option<Vec<u8>> {
    let len = 1 + 2 * curve.coordinate_len();
    if octets.len() == len {
        return Some(octets.to_vec());
    }
    let bare = octets.get(octets.len().checked_sub(len)?..)?;
    (octet_string(bare)? == octets).then(|| bare.to_vec())
}

/// Encodes an OCTET STRING of at most 255 octets in DER.
fn octet_string(octets: &[u8]) -> Option<Vec<u8>> {
    let len = u8::try_from(octets.len()).ok()?;
    let header: &[u8] = if len < 0x80 {
        &[4, len]
    } else {
        &[4, 0x81, len]
    };
    Some([header, octets].concat())
}

/// Most keys that one run uses.
const MAX_KEYS: usize = 1000;

/// Longest wait for others who try a PIN.
const TURN: Duration = Duration::from_secs(10);
/// Most names in one message.
const MAX_LISTED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_bare_or_in_an_octet_string() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let bare = vec![4; 1 + 2 * curve.coordinate_len()];
            let wrapped = octet_string(&bare).unwrap();
            assert_eq!(bare_point(curve, &bare), Some(bare.clone()));
            assert_eq!(bare_point(curve, &wrapped), Some(bare.clone()));
            for other in [
                &wrapped[1..],
                &bare[1..],
                &[&[0], &wrapped[..]].concat(),
                &[],
            ] {
                assert_eq!(bare_point(curve, other), None);
            }
        }
    }

    #[test]
    fn what_says_that_a_ciphertext_is_not_for_a_key_says_nothing_more() {
        for rv in [
            RvError::EncryptedDataInvalid,
            RvError::EncryptedDataLenRange,
            RvError::DataInvalid,
            RvError::GeneralError,
            RvError::FunctionFailed,
        ] {
            assert_eq!(
                verdict(Error::Pkcs11(rv, Function::Decrypt)),
                Ok(()),
                "{rv:?}"
            );
        }
        for (rv, function) in [
            (RvError::DeviceRemoved, Function::Decrypt),
            (RvError::SessionHandleInvalid, Function::DecryptInit),
            (RvError::GeneralError, Function::DecryptInit),
            (RvError::KeyFunctionNotPermitted, Function::DecryptInit),
        ] {
            verdict(Error::Pkcs11(rv, function)).unwrap_err();
        }
    }
}
