//! Stands between client and registry: counts what passes, and breaks one connection when it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// A relay on a port of its own; dropping it ends it.
pub(crate) struct Relay {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// The ways through a relay, seen from the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    Up,
    Down,
}

struct Shared {
    to: u16,
    state: Mutex<State>,
    is_closing: AtomicBool,
}

#[derive(Default)]
struct State {
    up: u64,
    down: u64,
    /// The first connection over which more goes this way is broken.
    cut: Option<(Way, u64)>,
}

impl Relay {
    /// Relays to a port of this machine.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            to: port,
            state: Mutex::default(),
            is_closing: AtomicBool::new(false),
        });
        let port = listener.local_addr().unwrap().port();
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            port,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// Breaks the first connection over which more than this many octets go.
    pub(crate) fn cut(&self, way: Way, octets: u64) {
        self.shared.state().cut = Some((way, octets));
    }

    /// Returns how many octets went each way since this was last asked. A cut that nothing met is a failure.
    pub(crate) fn take_counts(&self) -> (u64, u64) {
        let state = std::mem::take(&mut *self.shared.state());
        assert_eq!(state.cut, None, "nothing was cut");
        (state.up, state.down)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, SeqCst);
        // The acceptor looks at the flag when somebody comes.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let outcome = self.acceptor.take().map(JoinHandle::join);
        assert!(matches!(outcome, Some(Ok(()))) || thread::panicking());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Counts octets of a connection over which `before` went already; returns whether it goes on.
    fn pass(&self, way: Way, before: u64, octets: u64) -> bool {
        let mut state = self.state();
        match way {
            Way::Up => state.up += octets,
            Way::Down => state.down += octets,
        }
        let is_cut = state
            .cut
            .is_some_and(|(cut, limit)| cut == way && before + octets > limit);
        if is_cut {
            state.cut = None;
        }
        !is_cut
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.is_closing.load(SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let Ok(registry) = TcpStream::connect(("127.0.0.1", shared.to)) else {
            continue;
        };
        for stream in [&client, &registry] {
            drop(stream.set_nodelay(true));
        }
        for (way, from, to) in [
            (Way::Up, &client, &registry),
            (Way::Down, &registry, &client),
        ] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = Arc::clone(shared);
            // Ends with the connection, which ends with the client's transport or the registry.
            thread::spawn(move || carry(&shared, way, &from, &to));
        }
    }
}

fn carry(shared: &Shared, way: Way, mut from: &TcpStream, mut to: &TcpStream) {
    let mut piece = vec![0; 16 * 1024];
    let mut carried = 0;
    while let Ok(read @ 1..) = from.read(&mut piece) {
        let goes_on = shared.pass(way, carried, read as u64);
        if to.write_all(&piece[..read]).is_err() || !goes_on {
            break;
        }
        carried += read as u64;
    }
    for stream in [from, to] {
        drop(stream.shutdown(Shutdown::Both));
    }
}
