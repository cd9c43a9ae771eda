//! How a service ends: by Ctrl-C, by SIGTERM, or with whoever started it.

use std::io::{self, Read as _};

use tokio::sync::oneshot;

use crate::exit::{Code, Failure};

/// The end of a service, listened for from the beginning.
pub(crate) struct End {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    parent: Option<oneshot::Receiver<()>>,
}

impl End {
    /// Begins to listen.
    ///
    /// With `ends_with_stdin` the end of standard input is the end, too: a parent holds the other end of a pipe, and
    /// however it dies the pipe closes.
    pub(crate) fn listen(ends_with_stdin: bool) -> Result<Self, Failure> {
        let begin = || -> io::Result<Self> {
            #[cfg(unix)]
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                #[cfg(unix)]
                interrupt: signal(SignalKind::interrupt())?,
                #[cfg(unix)]
                terminate: signal(SignalKind::terminate())?,
                parent: match ends_with_stdin {
                    true => Some(end_of_stdin()?),
                    false => None,
                },
            })
        };
        begin()
            .map_err(|error| Failure::new(Code::Other, "cannot listen for Ctrl-C").because(&error))
    }

    /// Returns when the time has come.
    pub(crate) async fn wait(&mut self) {
        let parent = async {
            match &mut self.parent {
                Some(parent) => _ = parent.await,
                None => std::future::pending().await,
            }
        };
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = parent => {}
        }
        #[cfg(not(unix))]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = parent => {}
        }
    }
}

/// Says when standard input ends. The thread blocks in a read, so it is nobody's to wait for.
fn end_of_stdin() -> io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .spawn(move || {
            let mut octets = [0; 64];
            while io::stdin().read(&mut octets).is_ok_and(|read| read > 0) {}
            // Whoever listened may have gone already.
            let _ = ended.send(());
        })?;
    Ok(end)
}
