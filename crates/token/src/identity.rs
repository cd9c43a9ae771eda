use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use sealift_keywrap::jwe::{Jwe, OaepHash};
use sealift_keywrap::keys::{ec_public, rsa_public};
use sealift_keywrap::pkcs11::{Element, KeyFile, Pin};
use sealift_keywrap::{
    AgreementError, Curve, EcPoint, Identity, KeyAgreement, LayerSecret, OaepDecryption, PublicKey,
    REMOTE_COST, Recipient, Scheme, SharedSecret, UnwrapError, WrapContext, WrappedKey,
};
use zeroize::Zeroizing;

use crate::TokenError;
use crate::modules::{Surroundings, resolve};
use crate::process::{Worker, WorkerCommand};
use crate::protocol::{Caution, Class, Found, Numbers, Request, Response};

/// The tokens of one run: one process per module and environment, one login per token.
#[derive(Debug)]
pub struct Tokens {
    command: WorkerCommand,
    surroundings: Surroundings,
    caution: Caution,
    workers: Mutex<BTreeMap<Place, Arc<Worker>>>,
}

/// A module and its environment.
type Place = (PathBuf, BTreeMap<Box<str>, Box<str>>);

impl Tokens {
    /// Takes what starts a worker, what decides where the list of modules is, and how careful to be with PINs. Nothing
    /// is read or started before a key is wanted.
    pub fn new(command: WorkerCommand, surroundings: Surroundings, caution: Caution) -> Arc<Self> {
        Arc::new(Self {
            command,
            surroundings,
            caution,
            workers: Mutex::default(),
        })
    }

    /// Reads a public key out of a token; most tokens show them without a PIN.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn public_key(&self, file: &KeyFile, pin: Option<Pin>) -> Result<PublicKey, TokenError> {
        let (_, found) = self.find(file, Class::Public, pin)?;
        public_key(&found.numbers)
    }

    fn find(
        &self,
        file: &KeyFile,
        class: Class,
        pin: Option<Pin>,
    ) -> Result<(Arc<Worker>, Found), TokenError> {
        let worker = self.worker(file)?;
        let request = Request::Find {
            uri: file.uri.to_string(),
            class,
            caution: self.caution,
            pin,
        };
        match worker.ask(&request)? {
            Response::Found(found) => Ok((worker, found)),
            _ => Err(TokenError::Protocol),
        }
    }

    fn worker(&self, file: &KeyFile) -> Result<Arc<Worker>, TokenError> {
        let policy = self.surroundings.policy()?;
        let module = resolve(&file.uri, &policy)?;
        let place = (module, file.environment.clone());
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = workers.get(&place) {
            return Ok(Arc::clone(worker));
        }
        let worker = Worker::start(&self.command, &place.1, &place.0)?;
        let worker = Arc::new(worker);
        workers.insert(place, Arc::clone(&worker));
        Ok(worker)
    }
}

fn public_key(numbers: &Numbers) -> Result<PublicKey, TokenError> {
    let failed = |reason: &str| TokenError::Key {
        reason: reason.into(),
    };
    match numbers {
        Numbers::Rsa { modulus, exponent } => {
            rsa_public(modulus, exponent).map_err(|error| failed(&error.to_string()))
        }
        Numbers::Ec { curve, point } => EcPoint::from_uncompressed(*curve, point)
            .map(ec_public)
            .ok_or_else(|| failed("the token does not tell its point")),
    }
}

/// A private key in a token: opens PKCS #11 elements and JWEs made for it.
///
/// The token is not asked before the key is wanted, or [`connect`](Self::connect) is called.
pub struct TokenIdentity {
    tokens: Arc<Tokens>,
    /// Its name while its public key is not known.
    name: String,
    state: Mutex<State>,
}

enum State {
    Waiting(KeyFile, Option<Pin>),
    Ready(Ready),
    Failed(TokenError),
}

#[derive(Clone)]
struct Ready {
    key: RemoteKey,
    fingerprint: Option<String>,
}

#[derive(Clone)]
struct RemoteKey {
    worker: Arc<Worker>,
    number: u32,
    kind: Kind,
    failure: Arc<Mutex<Option<TokenError>>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Rsa { modulus_len: usize },
    Ec(Curve),
}

impl TokenIdentity {
    /// Takes the name of a key, and the PIN of its token.
    pub fn new(tokens: &Arc<Tokens>, file: KeyFile, pin: Option<Pin>) -> Self {
        let mut name = file.uri.to_string();
        // The same label may stand in tokens of two modules.
        for module in [file.uri.module_path(), file.uri.module_name()] {
            name.push(' ');
            name.push_str(module.unwrap_or_default());
        }
        // By their digest: values may be credentials.
        if !file.environment.is_empty() {
            let mut variables = Context::new(&SHA256);
            for part in file
                .environment
                .iter()
                .flat_map(|(name, value)| [name, value])
            {
                variables.update(&part.len().to_be_bytes());
                variables.update(part.as_bytes());
            }
            name.push_str(&format!(" env {}", hex::encode(variables.finish())));
        }
        Self {
            tokens: Arc::clone(tokens),
            name,
            state: Mutex::new(State::Waiting(file, pin)),
        }
    }

    /// Looks for the key, and logs in, unless that was done or has failed before.
    ///
    /// # Errors
    /// [`TokenError`], the same every time.
    pub fn connect(&self) -> Result<(), TokenError> {
        self.ready().map(|_| ())
    }

    fn ready(&self) -> Result<Ready, TokenError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, pin) = match &mut *state {
            State::Ready(ready) => return Ok(ready.clone()),
            State::Failed(error) => return Err(error.clone()),
            State::Waiting(file, pin) => (file, pin.take()),
        };
        let result = self
            .tokens
            .find(file, Class::Private, pin)
            .map(|(worker, found)| Ready {
                fingerprint: public_key(&found.numbers).ok().map(|key| key.fingerprint()),
                key: RemoteKey {
                    worker,
                    number: found.key,
                    kind: match &found.numbers {
                        Numbers::Rsa { modulus, .. } => Kind::Rsa {
                            modulus_len: modulus.len(),
                        },
                        Numbers::Ec { curve, .. } => Kind::Ec(*curve),
                    },
                    failure: Arc::default(),
                },
            });
        *state = match &result {
            Ok(ready) => State::Ready(ready.clone()),
            Err(error) => State::Failed(error.clone()),
        };
        result
    }

    /// Returns the key's kind, if the token has been asked.
    fn known(&self) -> Option<Ready> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(ready) => Some(ready.clone()),
            _ => None,
        }
    }
}

impl Identity for TokenIdentity {
    fn cost(&self) -> usize {
        REMOTE_COST
    }

    fn opens(&self, scheme: &Scheme) -> bool {
        match scheme {
            Scheme::Jwe => true,
            Scheme::Pkcs11 => {
                !matches!(self.known(), Some(ready) if matches!(ready.key.kind, Kind::Ec(_)))
            }
            _ => false,
        }
    }

    fn fingerprint(&self) -> String {
        self.known()
            .and_then(|ready| ready.fingerprint)
            .unwrap_or_else(|| self.name.clone())
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        let token = |error: TokenError| UnwrapError::Token {
            reason: error.to_string().into(),
        };
        // What cannot be read is not worth a login.
        match &wrapped.scheme {
            Scheme::Jwe => {
                let jwe = Jwe::parse(&wrapped.element)?;
                let key = self.ready().map_err(token)?.key.for_one_call();
                let opened = match key.kind {
                    Kind::Rsa { .. } => jwe.open_with_oaep(&key),
                    Kind::Ec(_) => jwe.open_with_agreement(&key),
                };
                opened.map_err(|error| key.explained(error))
            }
            Scheme::Pkcs11 => {
                let element = Element::parse(&wrapped.element)?;
                let key = self.ready().map_err(token)?.key.for_one_call();
                match key.kind {
                    Kind::Rsa { .. } => element
                        .open_with_oaep(&key)
                        .map_err(|error| key.explained(error)),
                    Kind::Ec(_) => Err(UnwrapError::NotForThisKey),
                }
            }
            _ => Err(UnwrapError::NotForThisKey),
        }
    }
}

impl fmt::Debug for TokenIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenIdentity({})", self.name)
    }
}

impl RemoteKey {
    /// Replaces an error by what the token said, where it said something.
    fn explained(&self, error: UnwrapError) -> UnwrapError {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match failure.take() {
            Some(failure) => UnwrapError::Token {
                reason: failure.to_string().into(),
            },
            None => error,
        }
    }

    /// A copy with a place of its own for what the token says, since layers are opened side by side.
    fn for_one_call(self) -> Self {
        Self {
            failure: Arc::default(),
            ..self
        }
    }

    fn ask(&self, request: &Request) -> Option<Zeroizing<Vec<u8>>> {
        let failure = match self.worker.ask(request) {
            Ok(Response::Secret(secret)) => return Some(secret),
            Ok(Response::NotForThisKey) => return None,
            Ok(_) => TokenError::Protocol,
            Err(error) => error,
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        None
    }
}

impl OaepDecryption for RemoteKey {
    fn modulus_len(&self) -> usize {
        match self.kind {
            Kind::Rsa { modulus_len } => modulus_len,
            Kind::Ec(_) => 0,
        }
    }

    fn decrypt_oaep(&self, hash: OaepHash, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.ask(&Request::Decrypt {
            key: self.number,
            hash,
            ciphertext: ciphertext.to_vec(),
        })
    }
}

impl KeyAgreement for RemoteKey {
    fn curve(&self) -> Curve {
        match self.kind {
            Kind::Ec(curve) => curve,
            // INVARIANT: RSA keys are never asked.
            Kind::Rsa { .. } => Curve::P256,
        }
    }

    fn agree(&self, peer: &EcPoint) -> Result<SharedSecret, AgreementError> {
        if peer.curve() != self.curve() {
            return Err(AgreementError::WrongCurve);
        }
        let request = Request::Agree {
            key: self.number,
            point: peer.as_uncompressed().to_vec(),
        };
        let shared = self.ask(&request).ok_or(AgreementError::Refused)?;
        if shared.len() != self.curve().coordinate_len() {
            return Err(AgreementError::Refused);
        }
        Ok(SharedSecret::new(shared))
    }
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteKey(..)")
    }
}
