//! Configured providers as recipients and identities.

use std::ffi::OsString;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use sealift_keywrap::{
    Identity, LayerSecret, MAX_ELEMENT_LEN, REMOTE_COST, Recipient, Scheme, UnwrapError,
    WrapContext, WrapError, WrappedKey,
};
use tokio::runtime::{Builder, Handle, Runtime};
use zeroize::Zeroizing;

use crate::config::{Config, Transport};
use crate::message::{self, MessageError};
use crate::{Answer, ProviderError, ProviderName, exec, grpc};

/// The configured key providers.
#[derive(Debug)]
pub struct Providers {
    config: Config,
    caller: Arc<Caller>,
}

/// How providers are called.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// How long a call may take, all of it.
    pub timeout: Duration,
    /// Environment variables that programs do not inherit.
    pub hidden: Vec<OsString>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            timeout: Self::TIMEOUT,
            hidden: Vec::new(),
        }
    }
}

impl CallOptions {
    /// How long a call may take unless somebody says otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
}

impl Providers {
    /// Takes a configuration. Nothing is started before a provider is called.
    pub fn new(config: Config, options: CallOptions) -> Self {
        Self {
            config,
            caller: Arc::new(Caller {
                options,
                runtime: Mutex::default(),
            }),
        }
    }

    /// Returns the names of all configured providers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.config.names()
    }

    /// Returns a provider as a recipient of layer keys.
    ///
    /// # Errors
    /// [`ProviderError`] if it cannot be asked for anything.
    pub fn recipient(
        &self,
        name: &str,
        parameters: Option<&str>,
    ) -> Result<ProviderRecipient, ProviderError> {
        Ok(ProviderRecipient(self.provider(name, parameters)?))
    }

    /// Returns a provider as an identity, which opens what stands under its own name.
    ///
    /// # Errors
    /// [`ProviderError`] if it cannot be asked for anything.
    pub fn identity(
        &self,
        name: &str,
        parameters: Option<&str>,
    ) -> Result<ProviderIdentity, ProviderError> {
        Ok(ProviderIdentity(self.provider(name, parameters)?))
    }

    fn provider(&self, name: &str, parameters: Option<&str>) -> Result<Provider, ProviderError> {
        let name = ProviderName::parse(name)?;
        let parameters = parameters.unwrap_or(ENABLED);
        if parameters.len() > MAX_PARAMETERS_LEN {
            return Err(ProviderError::LongParameters {
                limit: MAX_PARAMETERS_LEN,
            });
        }
        Ok(Provider {
            transport: Arc::new(self.config.transport(&name)?),
            name,
            parameters: Zeroizing::new(parameters.as_bytes().to_vec()),
            caller: Arc::clone(&self.caller),
            silent: AtomicUsize::new(0),
        })
    }
}

/// Most octets of a provider's parameters.
const MAX_PARAMETERS_LEN: usize = 64 * 1024;

/// What ocicrypt passes to a provider that was named without parameters.
const ENABLED: &str = "Enabled";

/// A key provider that wraps layer keys. It sees them in clear.
#[derive(Debug)]
pub struct ProviderRecipient(Provider);

impl ProviderRecipient {
    /// Tells this recipient from others by the same provider, without repeating the parameters.
    pub fn label(&self) -> String {
        self.0.label()
    }
}

impl Recipient for ProviderRecipient {
    fn scheme(&self) -> Scheme {
        self.0.scheme()
    }

    /// Names the provider: which keys it has is its own affair, and this is written into images.
    fn fingerprint(&self) -> String {
        format!("provider:{}", self.0.name)
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        let provider = &self.0;
        let request = message::wrap_request(&provider.name, &provider.parameters, secret);
        let element = provider
            .ask(grpc::Method::Wrap, request, message::wrap_answer)
            .map_err(|error| WrapError::Provider {
                name: provider.name.as_str().into(),
                reason: error.whole(),
            })?;
        if element.len() > MAX_ELEMENT_LEN {
            return Err(WrapError::TooLong {
                limit: MAX_ELEMENT_LEN,
            });
        }
        Ok(WrappedKey {
            scheme: self.scheme(),
            element,
        })
    }
}

/// A key provider that unwraps what stands in its own annotation.
#[derive(Debug)]
pub struct ProviderIdentity(Provider);

impl Identity for ProviderIdentity {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme == self.0.scheme()
    }

    fn cost(&self) -> usize {
        REMOTE_COST
    }

    /// Names the provider, and the parameters by their digest: with others it may open other keys.
    fn fingerprint(&self) -> String {
        self.0.label()
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        if !self.opens(&wrapped.scheme) {
            return Err(UnwrapError::NotForThisKey);
        }
        let provider = &self.0;
        let request =
            message::unwrap_request(&provider.name, &provider.parameters, &wrapped.element);
        provider
            .ask(grpc::Method::Unwrap, request, message::unwrap_answer)
            .map_err(|error| {
                let (name, reason) = (provider.name.as_str().into(), error.whole());
                if error.is_unavailable() {
                    UnwrapError::ProviderUnavailable { name, reason }
                } else {
                    UnwrapError::ProviderFailed { name, reason }
                }
            })
    }
}

struct Provider {
    name: ProviderName,
    transport: Arc<Transport>,
    /// They may be secret, as far as this program knows.
    parameters: Zeroizing<Vec<u8>>,
    caller: Arc<Caller>,
    /// Calls in a row that ended without an answer.
    silent: AtomicUsize,
}

impl Provider {
    fn scheme(&self) -> Scheme {
        Scheme::Provider(self.name.as_str().into())
    }

    fn label(&self) -> String {
        let parameters = hex::encode(digest(&SHA256, &self.parameters));
        format!("provider:{} (parameters {parameters})", self.name)
    }

    fn ask<T>(
        &self,
        method: grpc::Method,
        request: Zeroizing<Vec<u8>>,
        read: impl Fn(&[u8]) -> Result<T, MessageError>,
    ) -> Result<T, ProviderError> {
        // A manifest can list many elements; each must not cost the whole time again.
        if self.silent.load(Ordering::Relaxed) >= MAX_SILENT {
            return Err(ProviderError::Silent { times: MAX_SILENT });
        }
        let answer = self.caller.call(&self.transport, method, request);
        match &answer {
            Err(ProviderError::TimedOut { .. }) => {
                self.silent.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.silent.store(0, Ordering::Relaxed),
        }
        let answer = answer?;
        read(&answer.octets).map_err(|error| ProviderError::Malformed {
            reason: error.to_string().into(),
            said: answer.said,
        })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Calls in a row without an answer, after which a provider is not asked again.
const MAX_SILENT: usize = 3;

/// Where calls are made: one thread of its own, started by the first call, ended with the last provider.
struct Caller {
    options: CallOptions,
    runtime: Mutex<Option<Runtime>>,
}

impl Caller {
    /// Blocks until the provider has answered or its time is up. Who calls from a thread of an event loop holds up that thread.
    fn call(
        &self,
        transport: &Arc<Transport>,
        method: grpc::Method,
        request: Zeroizing<Vec<u8>>,
    ) -> Result<Answer, ProviderError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let transport = Arc::clone(transport);
        let options = self.options.clone();
        self.handle()
            .map_err(ProviderError::Runtime)?
            .spawn(async move {
                let limit = options.timeout;
                let answer = match &*transport {
                    Transport::Command(command) => {
                        exec::call(command, &options.hidden, &request, limit).await
                    }
                    Transport::Grpc(target) => grpc::call(target, method, &request, limit).await,
                };
                // Who asked waits below.
                let _ = sender.send(answer);
            });
        let stopped = || ProviderError::Runtime(std::io::ErrorKind::Interrupted.into());
        receiver.recv().map_err(|_| stopped())?
    }

    fn handle(&self) -> std::io::Result<Handle> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = match runtime.as_mut() {
            Some(runtime) => runtime,
            None => runtime.insert(
                Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name("key-providers")
                    .enable_all()
                    .build()?,
            ),
        };
        Ok(runtime.handle().clone())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let runtime = self
            .runtime
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.take() {
            // Nothing is under way any more, and waiting is not allowed where an event loop drops us.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}
