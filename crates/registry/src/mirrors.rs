//! What is learnt of mirrors on the way: which was passed over and why, and which gave something else than it was asked for.
//!
//! The latter is known only when all of a blob has come, and by then whoever reads it has most of it. So the reader fails, the
//! mirror is not asked for that blob again, and whoever moves the blob begins anew.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealift_oci::{Digest, Reference};

use crate::client::Client;
use crate::error::Error;
use crate::routes::{Role, Route, Wanted};

/// The mirrors from which octets of one blob came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Givers(Arc<Mutex<Vec<Route>>>);

impl Givers {
    /// Remembers a place as one that gave octets, unless it is the registry itself.
    pub(crate) fn add(&self, route: &Route) {
        if route.role == Role::Mirror {
            locked(&self.0).push(route.clone());
        }
    }
}

/// What is known of mirrors.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    /// One sentence each.
    notes: Mutex<Vec<String>>,
    /// Places, and what they are not asked for.
    struck_off: Mutex<HashSet<(String, Digest)>>,
}

impl Client {
    /// Returns what was learnt about mirrors since this was last asked, one sentence each.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.mirrors().notes))
    }

    pub(crate) fn note_failure(&self, route: &Route, error: &Error) {
        let mut causes = error.to_string();
        if let Some(cause) = std::error::Error::source(error) {
            causes = format!("{causes}: {cause}");
        }
        let place = &route.reference;
        self.note(format!(
            "mirror {} was passed over: {causes}",
            place.registry()
        ));
    }

    pub(crate) fn note_success(&self, route: &Route, what: &str) {
        if route.role == Role::Mirror {
            let place = &route.reference;
            self.note(format!("{what} comes from mirror {}", place.registry()));
        }
    }

    fn note(&self, text: String) {
        let mut notes = locked(&self.mirrors().notes);
        // A long run must not fill the memory with what went wrong.
        if notes.len() < MAX_NOTES && notes.last() != Some(&text) {
            notes.push(text);
        }
    }

    /// Returns the places that may have a blob, its registry last, without mirrors that gave something else for it.
    pub(crate) fn routes_of_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Vec<Route>, Error> {
        let mut routes = self.routes(reference, Wanted::Digest)?;
        let struck_off = locked(&self.mirrors().struck_off);
        if !struck_off.is_empty() {
            routes.retain(|route| {
                route.role == Role::Origin || !struck_off.contains(&(place(route), digest.clone()))
            });
        }
        Ok(routes)
    }

    /// Judges a blob that turned out to be another one, by who gave it.
    pub(crate) fn blame(&self, givers: &Givers, digest: &Digest, error: Error) -> Error {
        let Error::Mismatch { what, mismatch, .. } = &error else {
            return error;
        };
        let givers = locked(&givers.0);
        let places: Vec<String> = givers.iter().map(place).collect();
        if places.is_empty() {
            return error;
        }
        let blamed = Error::FalseMirror {
            what: what.clone(),
            place: places.join(", ").into(),
            mismatch: mismatch.clone(),
        };
        for (route, place) in givers.iter().zip(places) {
            self.note_failure(route, &blamed);
            locked(&self.mirrors().struck_off).insert((place, digest.clone()));
        }
        blamed
    }
}

/// Returns registry and repository.
fn place(route: &Route) -> String {
    let reference = &route.reference;
    format!("{}/{}", reference.registry(), reference.repository())
}

const MAX_NOTES: usize = 1000;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
