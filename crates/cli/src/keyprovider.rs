//! `sealift keyprovider`: what other tools ask as an ocicrypt key provider.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use sealift_provider::message::MAX_REQUEST_LEN;
use sealift_provider::{GrpcCode, KeyServer, Listener, ServeError, ServerTls, serve};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::args::{
    HoldersRecipientArgs, KeyproviderArgs, KeyproviderCommand, KeyproviderKeys,
    KeyproviderServeArgs,
};
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::files::read_limited;
use crate::keyholders::layers::Asking;
use crate::keyholders::lifetime::End;
use crate::keys::{self, RecipientMeans};
use crate::tokens::Wrapping;

pub(crate) fn run(args: &KeyproviderArgs, console: &Arc<Console>) -> Result<(), Failure> {
    match &args.command {
        None => answer(&args.keys, console),
        Some(KeyproviderCommand::Serve(more)) => {
            let same =
                args.keys.recipients == more.keys.recipients && args.keys.keys == more.keys.keys;
            // What stands before the verb would be lost; what the environment says stands in both.
            let none = args.keys.recipients.is_empty() && args.keys.keys.is_empty();
            if !(same || none) {
                let what = "recipients and keys of a service are given after `serve`";
                return Err(Failure::new(Code::Usage, what));
            }
            listen(more, console)
        }
    }
}

/// One request on standard input, one answer on standard output.
fn answer(args: &KeyproviderKeys, console: &Console) -> Result<(), Failure> {
    let (keys, asking) = load(args, console)?;
    let mut request = Zeroizing::new(Vec::with_capacity(MAX_REQUEST_LEN + 1));
    io::stdin()
        .lock()
        .take(MAX_REQUEST_LEN as u64 + 1)
        .read_to_end(&mut request)
        .map_err(|error| Failure::new(Code::Other, "cannot read the request").because(&error))?;
    let answer = keys.answer(&request);
    asking.accuse(console);
    console.result(&answer.map_err(|error| failure(&error))?)
}

fn listen(args: &KeyproviderServeArgs, console: &Arc<Console>) -> Result<(), Failure> {
    // Keys of layers are in this process; a core file of it would be a copy of them.
    #[cfg(unix)]
    sealift_sys::no_core_dumps().map_err(|error| {
        Failure::new(Code::Other, "cannot forbid core files of this process").because(&error)
    })?;
    let (keys, asking) = load(&args.keys, console)?;
    let tls = tls(args)?;
    let cannot = |error: &io::Error| {
        Failure::new(Code::Other, format!("cannot listen on `{}`", args.listen)).because(error)
    };
    let said = Arc::clone(console);
    let note = move |text: &str| said.detail(text);
    crate::keyholders::runtime()?.block_on(async {
        let mut end = End::listen(false)?;
        let (listener, address) = match socket(&args.listen) {
            Some(path) => (unix(path).map_err(|error| cannot(&error))?, args.listen.clone()),
            None => {
                let address: SocketAddr = args.listen.parse().map_err(|_| bad_address(args))?;
                if tls.is_none() && !address.ip().is_loopback() {
                    return Err(Failure::new(
                        Code::Usage,
                        format!("`{address}` is not a loopback address, and without TLS layer keys would travel in clear"),
                    )
                    .hint("give --tls-cert, --tls-key and --client-ca, or listen on a Unix socket"));
                }
                let listener = TcpListener::bind(address)
                    .await
                    .map_err(|error| cannot(&error))?;
                let address = listener.local_addr().map_err(|error| cannot(&error))?;
                let listener = match tls {
                    Some(tls) => Listener::Tls(listener, tls),
                    None => Listener::loopback(listener).map_err(|error| cannot(&error))?,
                };
                (listener, address.to_string())
            }
        };
        console.result(format!("key provider listening on {address}\n").as_bytes())?;
        serve(listener, Arc::new(keys), Arc::new(note), end.wait()).await;
        if let Some(path) = socket(&args.listen) {
            // Whoever comes now shall see at once that nobody is there.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    })?;
    asking.accuse(console);
    Ok(())
}

fn load(args: &KeyproviderKeys, console: &Console) -> Result<(KeyServer, Asking), Failure> {
    if args.recipients.is_empty() && args.keys.is_empty() {
        let what = "neither recipients nor keys are given";
        return Err(Failure::new(Code::Usage, what)
            .hint("-r says who may open what is wrapped here, -k what to open with"));
    }
    // A key provider is told neither the layer nor the repository, which bound keys of holders ask for.
    let labels = HoldersRecipientArgs {
        file: args.holders.file.clone(),
        label_repo: None,
        residency: vec!["*".to_owned()],
        policy: "default".to_owned(),
    };
    let means = RecipientMeans {
        holders: &labels,
        providers: None,
        pgp: &args.pgp,
        wrapping: Wrapping {
            hash: args.oaep_hash,
            secret_len: 0,
        },
        repository: None,
    };
    let recipients = keys::recipients(&args.recipients, &means, console)
        .map_err(|failure| explain(failure, &args.recipients))?;
    let (keyring, asking) = keys::identities(&args.keys, &args.holders, None, console)?;
    Ok((KeyServer::new(recipients, keyring), asking))
}

fn explain(mut failure: Failure, recipients: &[String]) -> Failure {
    let of_holders = recipients.iter().any(|spec| spec.starts_with("holders:"));
    if of_holders
        && failure
            .hint
            .as_ref()
            .is_some_and(|hint| hint.contains("--label-repo"))
    {
        failure.hint = None;
        return failure.hint(
            "a key provider is not told which layer it wraps a key for; only an unbound key of key holders works here",
        );
    }
    failure
}

fn failure(error: &ServeError) -> Failure {
    let code = match error.code() {
        GrpcCode::PERMISSION_DENIED => Code::NoKeyFits,
        GrpcCode::INVALID_ARGUMENT | GrpcCode::FAILED_PRECONDITION => Code::Usage,
        _ => Code::Other,
    };
    Failure::of(code, error)
}

fn tls(args: &KeyproviderServeArgs) -> Result<Option<ServerTls>, Failure> {
    let (Some(chain), Some(key), Some(authorities)) =
        (&args.tls_cert, &args.tls_key, &args.client_ca)
    else {
        return Ok(None);
    };
    let read = |path: &Path| read_limited(path, MAX_FILE_LEN);
    ServerTls::new(&read(chain)?, &keys::read_secret(key)?, &read(authorities)?)
        .map(Some)
        .map_err(|error| Failure::of(Code::Usage, &error))
}

/// Returns the path of a Unix socket.
fn socket(listen: &str) -> Option<&Path> {
    let path = listen.strip_prefix("unix:")?;
    Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
}

#[cfg(unix)]
fn unix(path: &Path) -> io::Result<Listener> {
    if !path.is_absolute() {
        let what = "a Unix socket is given as unix:///PATH";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    // With mode 0600: only its owner may ask.
    sealift_agent::server::bind(path, None).map(Listener::Unix)
}

#[cfg(not(unix))]
fn unix(_: &Path) -> io::Result<Listener> {
    let what = "Unix sockets are not supported on this system";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

fn bad_address(args: &KeyproviderServeArgs) -> Failure {
    Failure::new(Code::Usage, format!("`{}` is no address", args.listen))
        .hint("--listen takes unix:///PATH, 127.0.0.1:PORT or, with TLS, any ADDRESS:PORT")
}

/// Longest file of certificates.
const MAX_FILE_LEN: usize = 1024 * 1024;
