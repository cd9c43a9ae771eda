//! The threads of one operation, and the work on a layer that any of them may do: digests, above all.
//!
//! Each layer has an owner, the one thread that reads, seals or opens, and writes it. What only looks at octets goes on a
//! [`Lane`]: a queue of pieces and one task that takes them in order, on whichever thread is free. An owner that would
//! wait does the work of its own lanes first; a worker that has no layer any more does that of everybody's. Both take two
//! lanes at once where they can, because two streams are hashed faster together than one after the other.
//!
//! INVARIANT: lanes only compute, so whoever runs one comes to its end. An owner blocks only when each of its lanes is
//! empty or being run by somebody else, and whoever runs one takes the piece in hand to its end, and then looks for more or
//! offers the lane to the crew; so the buffers it waits for come back, with any number of threads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sealift_oci::Hasher;
use sealift_registry::BlobCheck;
use sealift_sha256::Sha256;

use crate::error::ImageError;
use crate::pump::Reading;
use crate::ring::{Piece, RING, Spares};

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
    /// Whether every worker begins with a layer of its own.
    all_own: bool,
    spares: Arc<Spares>,
    state: Mutex<CrewState>,
    changed: Condvar,
}

struct CrewState {
    /// Workers that may still begin a layer.
    owners: usize,
    /// Helpers that wait for work.
    idle: usize,
    /// Lanes with work that nobody was at when they were put here.
    ready: VecDeque<Arc<dyn Run>>,
}

impl Crew {
    pub(crate) fn new(owners: usize, layers: usize) -> Self {
        Self {
            stop: Stop::default(),
            all_own: layers >= owners,
            spares: Arc::default(),
            state: Mutex::new(CrewState {
                owners,
                idle: 0,
                ready: VecDeque::new(),
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Returns who reads a layer. To wait for a registry is a thread's work; a file comes as fast as the kernel copies it, so
    /// that a thread of its own pays only where there would be a processor without a layer.
    pub(crate) fn reading(&self, is_local: bool) -> Reading {
        if is_local && self.all_own {
            Reading::Here
        } else {
            Reading::Ahead
        }
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
                state.idle += 1;
                state = wait(&self.changed, state);
                state.idle -= 1;
                continue;
            };
            drop(state);
            if let Some(held) = lane.begin(Found::Offered) {
                take_pieces(held, usize::MAX, || self.second(), Some(self));
            }
            state = lock(&self.state);
        }
    }

    /// Begins to work on a second lane, unless there is somebody else to do it.
    fn second(&self) -> Option<Box<dyn Held>> {
        loop {
            let mut state = lock(&self.state);
            if state.idle > 0 {
                return None;
            }
            let lane = state.ready.pop_front()?;
            drop(state);
            if let Some(held) = lane.begin(Found::Offered) {
                return Some(held);
            }
        }
    }

    /// Returns whether every helper has something to do.
    fn is_busy(&self) -> bool {
        lock(&self.state).idle == 0
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

    /// Returns where buffers go that the layer is done with.
    pub(crate) fn spares(&self) -> Option<Arc<Spares>> {
        Some(Arc::clone(&self.crew?.spares))
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
            if !self.run() {
                return block();
            }
        }
    }

    /// Takes pieces on the first lane that has any and that nobody is at, and on another lane, anybody's, beside it; returns
    /// whether there were any.
    ///
    /// As many as an owner can be ahead with. After one, it would soon be back; and two owners that are both as far ahead as they
    /// can be would take turns in waiting, since one has both lanes in its hands.
    fn run(&self) -> bool {
        let own = self.own.borrow();
        let mut held = own
            .iter()
            .filter_map(|lane| Arc::clone(lane).begin(Found::Own));
        let Some(one) = held.next() else {
            return false;
        };
        // Two lanes that two threads take are done sooner.
        let second = || match self.crew {
            Some(crew) if crew.is_busy() => held.next().or_else(|| crew.second()),
            Some(_) => None,
            None => held.next(),
        };
        take_pieces(one, RING, second, self.crew);
        true
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

    /// Returns what takes the octets, if nothing else happens to them.
    fn sha256(&mut self) -> Option<&mut Sha256> {
        None
    }
}

impl Task for Hasher {
    fn take(&mut self, octets: &[u8]) {
        self.update(octets);
    }

    fn sha256(&mut self) -> Option<&mut Sha256> {
        self.as_sha256()
    }
}

impl Task for BlobCheck {
    fn take(&mut self, octets: &[u8]) {
        self.update(octets);
    }

    fn sha256(&mut self) -> Option<&mut Sha256> {
        self.hasher().as_sha256()
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
            if self.lanes.run() {
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

/// A lane, whatever its task.
trait Run: Send + Sync {
    /// Takes the task and the first piece, unless there is none or somebody is at it.
    fn begin(self: Arc<Self>, found: Found) -> Option<Box<dyn Held>>;
}

/// How somebody came to a lane.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    /// It is one of the owner's; the crew may know of it too.
    Own,
    /// The crew knew of it, and does not any more.
    Offered,
}

impl<T: Task> Run for Queue<T> {
    fn begin(self: Arc<Self>, found: Found) -> Option<Box<dyn Held>> {
        let mut state = lock(&self.state);
        if found == Found::Offered {
            state.offered = false;
        }
        // The task stays if there is no piece.
        state.task.as_ref()?;
        let piece = state.pieces.pop_front()?;
        let task = state.task.take();
        drop(state);
        Some(Box::new(InHand {
            queue: self,
            task,
            piece: Some(piece),
        }))
    }
}

/// A lane that somebody is at, with a piece to take.
trait Held {
    fn take(&mut self);

    /// Returns what does the same as [`take`](Self::take), if that is SHA-256 and nothing else.
    fn hashes(&mut self) -> Option<(&mut Sha256, &[u8])>;

    /// Goes on to the next piece; if there is none, leaves the lane.
    fn next(self: Box<Self>) -> Option<Box<dyn Held>>;

    /// Leaves the lane after this piece.
    fn leave(self: Box<Self>, crew: Option<&Crew>);
}

/// Takes a piece on each lane.
fn take(one: &mut Box<dyn Held>, other: &mut Option<Box<dyn Held>>) {
    let Some(other) = other else {
        return one.take();
    };
    match (one.hashes(), other.hashes()) {
        (Some((hasher, octets)), Some((other, others))) => {
            hasher.update_both(octets, other, others);
        }
        _ => {
            one.take();
            other.take();
        }
    }
}

/// Takes pieces on one lane, and on others beside it, until there are none left or `most` have been taken on each.
fn take_pieces(
    mut one: Box<dyn Held>,
    most: usize,
    mut more: impl FnMut() -> Option<Box<dyn Held>>,
    crew: Option<&Crew>,
) {
    let mut other = None;
    let mut taken = 0;
    loop {
        other = other.or_else(|| one.hashes().and_then(|_| more()));
        take(&mut one, &mut other);
        taken += 1;
        if taken == most {
            break;
        }
        other = other.and_then(Held::next);
        match one.next().or_else(|| other.take()) {
            Some(held) => one = held,
            None => return,
        }
    }
    one.leave(crew);
    if let Some(other) = other {
        other.leave(crew);
    }
}

/// A task in somebody's hands.
struct InHand<T: Task> {
    queue: Arc<Queue<T>>,
    task: Option<T>,
    piece: Option<Arc<Piece>>,
}

impl<T: Task> Held for InHand<T> {
    fn take(&mut self) {
        if let (Some(task), Some(piece)) = (&mut self.task, &self.piece) {
            task.take(piece.octets());
        }
    }

    fn hashes(&mut self) -> Option<(&mut Sha256, &[u8])> {
        let hasher = self.task.as_mut()?.sha256()?;
        Some((hasher, self.piece.as_ref()?.octets()))
    }

    fn next(mut self: Box<Self>) -> Option<Box<dyn Held>> {
        // Goes home before anybody can see that the lane is free.
        self.piece = None;
        let mut state = lock(&self.queue.state);
        let piece = state.pieces.pop_front();
        if piece.is_none() {
            state.task = self.task.take();
            self.queue.released.notify_all();
            return None;
        }
        drop(state);
        self.piece = piece;
        Some(self)
    }

    fn leave(mut self: Box<Self>, crew: Option<&Crew>) {
        self.piece = None;
        let mut state = lock(&self.queue.state);
        state.task = self.task.take();
        self.queue.released.notify_all();
        // A helper may have passed by in the meantime.
        let left = !state.pieces.is_empty();
        offer(&self.queue, state, crew.filter(|_| left));
    }
}

impl<T: Task> Drop for InHand<T> {
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

    use sealift_oci::{Algorithm, Digest};
    use sealift_sys::Buffer;

    use super::*;
    use crate::ring::Ring;

    /// Panics in the hands of a helper.
    struct OnlyFor(ThreadId);

    impl Task for OnlyFor {
        fn take(&mut self, _: &[u8]) {
            assert_eq!(thread::current().id(), self.0);
        }
    }

    /// Anything but a hash.
    struct Sum(u64);

    impl Task for Sum {
        fn take(&mut self, octets: &[u8]) {
            self.0 += octets.iter().copied().map(u64::from).sum::<u64>();
        }
    }

    fn hasher() -> Hasher {
        Hasher::new(Algorithm::Sha256)
    }

    fn piece(octets: Vec<u8>, ring: &Arc<Ring>) -> Arc<Piece> {
        let mut buffer = Buffer::default();
        buffer.lengthen(octets.len()).copy_from_slice(&octets);
        Piece::new(buffer, ring)
    }

    fn left<T: Task>(lane: &Lane<'_, T>) -> usize {
        lock(&lane.queue.state).pieces.len()
    }

    #[test]
    fn a_task_that_panics_with_a_helper_lets_the_owner_go_on_to_an_error() {
        let crew = Crew::new(1, 1);
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

    #[test]
    fn an_owner_takes_two_digests_at_once_unless_a_helper_is_free() {
        let octets = || vec![7; 1000];
        for (idle, left_on_second) in [(0, 0), (1, 1)] {
            let crew = Crew::new(1, 1);
            lock(&crew.state).idle = idle;
            let lanes = Lanes::of(&crew);
            let ring = Ring::new();
            let (first, second) = (lanes.begin(hasher()), lanes.begin(hasher()));
            first.push(&piece(octets(), &ring));
            second.push(&piece(octets(), &ring));
            assert!(lanes.run());
            assert_eq!((left(&first), left(&second)), (0, left_on_second));
            for lane in [first, second] {
                let made = lane.finish().unwrap().finish();
                assert_eq!(made, Digest::sha256(&octets()));
            }
            assert!(!lanes.run());
        }
    }

    #[test]
    fn an_owner_takes_a_digest_of_another_layer_beside_its_own_and_offers_what_is_left() {
        let crew = Crew::new(2, 2);
        let (mine, others) = (Lanes::of(&crew), Lanes::of(&crew));
        let ring = Ring::new();
        let (own, other) = (mine.begin(hasher()), others.begin(hasher()));
        own.push(&piece(vec![1; 100], &ring));
        for _ in 0..=RING {
            other.push(&piece(vec![2; 100], &ring));
        }
        assert!(mine.run());
        assert_eq!((left(&own), left(&other)), (0, 1));
        assert_eq!(lock(&crew.state).ready.len(), 1, "the other lane, again");
        let all = [2; 100 * (RING + 1)];
        assert_eq!(own.finish().unwrap().finish(), Digest::sha256(&[1; 100]));
        assert_eq!(other.finish().unwrap().finish(), Digest::sha256(&all));
    }

    #[test]
    fn a_helper_leaves_a_second_lane_to_one_that_is_free() {
        let crew = Crew::new(1, 1);
        let lanes = Lanes::of(&crew);
        let lane = lanes.begin(hasher());
        lane.push(&piece(vec![1; 100], &Ring::new()));
        lock(&crew.state).idle = 1;
        assert!(crew.second().is_none());
        assert_eq!(lock(&crew.state).ready.len(), 1);
        lock(&crew.state).idle = 0;
        crew.second().unwrap().leave(Some(&crew));
        assert_eq!(left(&lane), 0);
    }

    #[test]
    fn files_are_read_ahead_only_where_a_worker_has_no_layer_and_registries_always() {
        for (workers, layers, file) in [
            (1, 1, Reading::Here),
            (2, 1, Reading::Ahead),
            (2, 2, Reading::Here),
            (2, 9, Reading::Here),
            (4, 3, Reading::Ahead),
        ] {
            let crew = Crew::new(workers, layers);
            assert_eq!(crew.reading(true), file, "{workers}, {layers}");
            assert_eq!(crew.reading(false), Reading::Ahead);
        }
    }

    #[test]
    fn what_is_no_hash_is_taken_alone() {
        let lanes = Lanes::alone();
        let ring = Ring::new();
        let (sum, hash) = (lanes.begin(Sum(0)), lanes.begin(hasher()));
        sum.push(&piece(vec![2; 10], &ring));
        hash.push(&piece(vec![2; 10], &ring));
        assert!(lanes.run());
        assert_eq!((left(&sum), left(&hash)), (0, 1));
        hash.push(&piece(vec![3; 10], &ring));
        sum.push(&piece(vec![3; 10], &ring));
        let both = [[2; 10], [3; 10]].concat();
        assert_eq!(hash.finish().unwrap().finish(), Digest::sha256(&both));
        assert_eq!(sum.finish().unwrap().0, 50);
    }

    /// Lanes of several layers, of several kinds and lengths, with none to several helpers: nothing is lost or mixed up.
    #[test]
    fn every_lane_gets_its_own_octets_in_order() {
        for helpers in 0..4 {
            let crew = Crew::new(3, 3);
            thread::scope(|scope| {
                for _ in 0..helpers {
                    scope.spawn(|| crew.help());
                }
                for layer in 1..=3_u8 {
                    let crew = &crew;
                    scope.spawn(move || {
                        let _owner = crew.owner();
                        let lanes = Lanes::of(crew);
                        let ring = Ring::new();
                        let (one, two) = (lanes.begin(hasher()), lanes.begin(hasher()));
                        let sum = lanes.begin(Sum(0));
                        let (mut first, mut second) = (Vec::new(), Vec::new());
                        for n in 0..200_u16 {
                            let mut octets = ring.next(&lanes);
                            let len = usize::from(n) * 37 % 1500 + usize::from(layer);
                            for (i, octet) in octets.lengthen(len).iter_mut().enumerate() {
                                *octet = i.to_le_bytes()[0] ^ layer;
                            }
                            let piece = Piece::new(octets, &ring);
                            one.push(&piece);
                            first.extend_from_slice(piece.octets());
                            if n % 3 != 0 {
                                two.push(&piece);
                                second.extend_from_slice(piece.octets());
                            }
                            sum.push(&piece);
                        }
                        assert_eq!(one.finish().unwrap().finish(), Digest::sha256(&first));
                        assert_eq!(two.finish().unwrap().finish(), Digest::sha256(&second));
                        let all: u64 = first.iter().copied().map(u64::from).sum();
                        assert_eq!(sum.finish().unwrap().0, all);
                    });
                }
            });
        }
    }
}
