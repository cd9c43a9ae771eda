//! The threads of one operation, and the work on a layer that any of them may do: digests, above all.
//!
//! Each layer has an owner, the one thread that reads, seals or opens, and writes it. What only looks at octets goes on a
//! [`Lane`]: a queue of pieces and one task that takes them in order, on whichever thread is free. An owner that would
//! wait does the work of its own lanes first; a worker that has no layer any more does that of everybody's.
//!
//! INVARIANT: lanes only compute, so whoever runs one comes to its end. An owner blocks only when each of its lanes is
//! empty or being run by a helper, which empties it; so the buffers it waits for come back, with any number of threads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sealift_oci::Hasher;
use sealift_registry::BlobCheck;

use crate::error::ImageError;
use crate::ring::Piece;

/// Tells the workers of one operation that it has failed.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// Returns [`ImageError::Stopped`] once another worker has failed.
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        if self.0.load(Ordering::Relaxed) {
            Err(ImageError::Stopped)
        } else {
            Ok(())
        }
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The workers of one operation.
pub(crate) struct Crew {
    stop: Stop,
    state: Mutex<CrewState>,
    changed: Condvar,
}

struct CrewState {
    /// Workers that may still begin a layer.
    owners: usize,
    /// Lanes with work that nobody was at when they were put here.
    ready: VecDeque<Arc<dyn Run>>,
}

impl Crew {
    pub(crate) fn new(owners: usize) -> Self {
        Self {
            stop: Stop::default(),
            state: Mutex::new(CrewState {
                owners,
                ready: VecDeque::new(),
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Ends one worker's time as an owner when it is dropped, also by a panic: helpers wait for the last.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner(self)
    }

    /// Does the work of everybody's lanes until there are no owners left.
    pub(crate) fn help(&self) {
        let mut state = lock(&self.state);
        while state.owners > 0 {
            let Some(lane) = state.ready.pop_front() else {
                state = wait(&self.changed, state);
                continue;
            };
            drop(state);
            lane.run(Some(self), Turn::UntilEmpty);
            state = lock(&self.state);
        }
    }

    fn offer(&self, lane: Arc<dyn Run>) {
        lock(&self.state).ready.push_back(lane);
        self.changed.notify_one();
    }

    fn withdraw(&self, lane: &Arc<dyn Run>) {
        lock(&self.state)
            .ready
            .retain(|other| !Arc::ptr_eq(other, lane));
    }
}

/// See [`Crew::owner`].
pub(crate) struct Owner<'c>(&'c Crew);

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.owners = state.owners.saturating_sub(1);
        if state.owners == 0 {
            self.0.changed.notify_all();
        }
    }
}

/// The lanes of one layer; belongs to the layer's owner.
pub(crate) struct Lanes<'c> {
    crew: Option<&'c Crew>,
    own: RefCell<Vec<Arc<dyn Run>>>,
}

impl<'c> Lanes<'c> {
    pub(crate) fn of(crew: &'c Crew) -> Self {
        Self {
            crew: Some(crew),
            own: RefCell::default(),
        }
    }

    /// Lanes that nobody helps with.
    pub(crate) fn alone() -> Self {
        Self {
            crew: None,
            own: RefCell::default(),
        }
    }

    /// Begins a lane.
    pub(crate) fn begin<T: Task>(&self, task: T) -> Lane<'_, T> {
        let queue = Arc::new(Queue {
            state: Mutex::new(QueueState {
                pieces: VecDeque::new(),
                task: Some(task),
                offered: false,
                lost: false,
            }),
            released: Condvar::new(),
        });
        self.own.borrow_mut().push(queue.clone());
        Lane { queue, lanes: self }
    }

    /// Returns what `attempt` yields; until it does, works on the lanes, and calls `block` when there is nothing to do.
    pub(crate) fn wait<R>(
        &self,
        mut attempt: impl FnMut() -> Option<R>,
        block: impl FnOnce() -> R,
    ) -> R {
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            if !self.run_one() {
                return block();
            }
        }
    }

    /// Takes one piece on the first lane that has one and that nobody is at; returns whether there was any.
    fn run_one(&self) -> bool {
        let own = self.own.borrow();
        own.iter()
            .any(|lane| Arc::clone(lane).run(self.crew, Turn::One))
    }

    fn end(&self, lane: &Arc<dyn Run>) {
        self.own
            .borrow_mut()
            .retain(|other| !Arc::ptr_eq(other, lane));
        if let Some(crew) = self.crew {
            crew.withdraw(lane);
        }
    }
}

/// What is done with every piece on a lane.
pub(crate) trait Task: Send + 'static {
    fn take(&mut self, octets: &[u8]);
}

impl Task for Hasher {
    fn take(&mut self, octets: &[u8]) {
        self.update(octets);
    }
}

impl Task for BlobCheck {
    fn take(&mut self, octets: &[u8]) {
        self.update(octets);
    }
}

/// Work in order, on one thread at a time. Dropping it abandons what has not been done.
pub(crate) struct Lane<'l, T: Task> {
    queue: Arc<Queue<T>>,
    lanes: &'l Lanes<'l>,
}

impl<T: Task> Lane<'_, T> {
    /// Appends a piece.
    pub(crate) fn push(&self, piece: &Arc<Piece>) {
        let mut state = lock(&self.queue.state);
        if state.lost {
            // Nobody would take it, and its buffer would never come back.
            return;
        }
        state.pieces.push_back(Arc::clone(piece));
        // Whoever is at it sees the piece before it leaves.
        let idle = state.task.is_some();
        offer(&self.queue, state, self.lanes.crew.filter(|_| idle));
    }

    /// Waits until every piece has been taken, and returns the task.
    ///
    /// # Errors
    /// [`ImageError::Stopped`] if the task came to harm on another thread.
    pub(crate) fn finish(self) -> Result<T, ImageError> {
        loop {
            let mut state = lock(&self.queue.state);
            if state.lost {
                return Err(ImageError::Stopped);
            }
            if state.pieces.is_empty()
                && let Some(task) = state.task.take()
            {
                return Ok(task);
            }
            drop(state);
            if self.lanes.run_one() {
                continue;
            }
            let state = lock(&self.queue.state);
            if state.task.is_none() && !state.lost {
                drop(wait(&self.queue.released, state));
            }
        }
    }
}

impl<T: Task> Drop for Lane<'_, T> {
    fn drop(&mut self) {
        let abandoned = std::mem::take(&mut lock(&self.queue.state).pieces);
        drop(abandoned);
        let queue: Arc<dyn Run> = self.queue.clone();
        self.lanes.end(&queue);
    }
}

struct Queue<T> {
    state: Mutex<QueueState<T>>,
    /// Whoever was at it has left.
    released: Condvar,
}

struct QueueState<T> {
    pieces: VecDeque<Arc<Piece>>,
    /// None while somebody is at it.
    task: Option<T>,
    /// Whether the crew knows of it.
    offered: bool,
    /// Whether a panic took the task along.
    lost: bool,
}

/// How long a thread stays on a lane.
#[derive(Clone, Copy, PartialEq)]
enum Turn {
    /// For one piece: an owner has other things to do.
    One,
    /// Until there is nothing left, which owners that block rely on.
    UntilEmpty,
}

trait Run: Send + Sync {
    /// Takes pieces, unless there are none or somebody is at it; returns whether any was taken.
    fn run(self: Arc<Self>, crew: Option<&Crew>, turn: Turn) -> bool;
}

impl<T: Task> Run for Queue<T> {
    fn run(self: Arc<Self>, crew: Option<&Crew>, turn: Turn) -> bool {
        let mut state = lock(&self.state);
        if turn == Turn::UntilEmpty {
            state.offered = false;
        }
        if state.pieces.is_empty() {
            return false;
        }
        let Some(task) = state.task.take() else {
            return false;
        };
        let mut held = Held {
            queue: &self,
            task: Some(task),
        };
        while let Some(piece) = state.pieces.pop_front() {
            drop(state);
            if let Some(task) = &mut held.task {
                task.take(piece.octets());
            }
            // Goes home before anybody can see that the lane is free.
            drop(piece);
            state = lock(&self.state);
            if turn == Turn::One {
                break;
            }
        }
        state.task = held.task.take();
        self.released.notify_all();
        // A helper may have passed by in the meantime.
        let left = !state.pieces.is_empty();
        offer(&self, state, crew.filter(|_| left));
        true
    }
}

/// Tells the crew of a lane with work, once.
fn offer<T: Task>(
    queue: &Arc<Queue<T>>,
    mut state: MutexGuard<'_, QueueState<T>>,
    crew: Option<&Crew>,
) {
    let Some(crew) = crew.filter(|_| !state.offered) else {
        return;
    };
    state.offered = true;
    drop(state);
    crew.offer(queue.clone());
}

/// A task in somebody's hands.
struct Held<'q, T> {
    queue: &'q Queue<T>,
    task: Option<T>,
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // Still here only when the task panicked: nobody may wait for it.
        if self.task.is_some() {
            let mut state = lock(&self.queue.state);
            state.lost = true;
            let abandoned = std::mem::take(&mut state.pieces);
            drop(state);
            drop(abandoned);
            self.queue.released.notify_all();
        }
    }
}

/// A panicking worker takes the whole scope down with it, so a poisoned lock tells nothing new.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait<'m, T>(condvar: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use super::*;
    use crate::ring::{RING, Ring};

    /// Panics in the hands of a helper.
    struct OnlyFor(ThreadId);

    impl Task for OnlyFor {
        fn take(&mut self, _: &[u8]) {
            assert_eq!(thread::current().id(), self.0);
        }
    }

    #[test]
    fn a_task_that_panics_with_a_helper_lets_the_owner_go_on_to_an_error() {
        let crew = Crew::new(1);
        thread::scope(|scope| {
            let helper = scope.spawn(|| crew.help());
            let owner = crew.owner();
            let lanes = Lanes::of(&crew);
            let lane = lanes.begin(OnlyFor(thread::current().id()));
            let ring = Ring::new();
            let push = || lane.push(&Piece::new(ring.next(&lanes), &ring));
            push();
            while !lock(&lane.queue.state).lost {
                thread::yield_now();
            }
            for _ in 0..3 * RING {
                push();
            }
            assert!(matches!(lane.finish(), Err(ImageError::Stopped)));
            drop(owner);
            helper.join().unwrap_err();
        });
    }
}
