//! What holders know in the end, in whatever order they hear it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use proptest::prelude::*;

use super::*;
use crate::command::{Admission, Order};
use crate::deployment::DeploymentId;
use crate::descriptor::{self, Administrator};
use crate::keys::SigningKey;
use crate::server::state::Deployment;
use crate::{dsse, statement};

const N: usize = 3;
const ALICE_IS_REMOVED: usize = 5;
/// Permissive orders that alice alone signed.
const OF_ALICE: [usize; 2] = [1, 4];

struct Site {
    deployments: Vec<Arc<Deployment>>,
    /// In the order in which holders that are never cut off would hear them.
    commands: Vec<Vec<u8>>,
    /// One of a later version for every register, by people who stay.
    last: Vec<Vec<u8>>,
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let keys: BTreeMap<&str, SigningKey> = ["alice", "bob", "carol", "dave"]
        .into_iter()
        .map(|name| (name, SigningKey::generate().unwrap()))
        .collect();
    let holders: Vec<HolderDescriptor> = ["fra", "gru", "nrt"]
        .into_iter()
        .zip(1..)
        .map(|(name, index)| {
            descriptor::tests::holder_descriptor(name, index, &SigningKey::generate().unwrap())
        })
        .collect();
    let administrators = ["alice", "bob", "carol"].map(|name| Administrator {
        name: name.to_owned(),
        key: keys[name].public().clone(),
    });
    let deployments = (0..N).map(|at| {
        let mut peers = holders.clone();
        let me = peers.remove(at);
        let administrators = administrators.to_vec();
        Arc::new(Deployment {
            me,
            peers,
            administrators,
        })
    });
    let sign = |subject: &str, version, order, by: &[&str]| {
        let command = Command {
            v: 1,
            deployment: DeploymentId([7; 16]),
            subject: subject.to_owned(),
            version,
            issued_at: 0,
            reason: "test".to_owned(),
            order,
        };
        let by: Vec<&SigningKey> = by.iter().map(|name| &keys[name]).collect();
        let payload = serde_json::to_vec(&command).unwrap();
        dsse::sign(statement::COMMAND, &payload, &by, &SystemRandom::new()).unwrap()
    };
    let admit = |zone: &str| {
        Order::AdmitNode(Admission {
            home: "fra".to_owned(),
            region: "r".to_owned(),
            zone: zone.to_owned(),
            jurisdiction: "DE".to_owned(),
            join_key: SigningKey::generate().unwrap().spki().into(),
            join_until: 1,
        })
    };
    let role = |name: &str, role: Option<&str>| Order::Role {
        spki: keys[name].spki().into(),
        role: role.map(str::to_owned),
    };
    let epoch = |epoch| Order::SetMinEpoch { epoch };
    let two = ["bob", "carol"];
    let commands = vec![
        sign("key:k", 1, Order::DisableKey {}, &["alice"]),
        sign("key:k", 2, Order::EnableKey {}, &["alice"]),
        sign("node:a", 1, Order::RevokeNode {}, &["alice"]),
        sign("node:a", 2, Order::UnrevokeNode {}, &["alice", "bob"]),
        sign("node:a", 1, admit("one"), &["alice"]),
        sign("operator:alice", 1, role("alice", None), &two),
        sign(
            "operator:dave",
            1,
            role("dave", Some("SecurityAdmin")),
            &["alice", "bob"],
        ),
        sign("operator:dave", 2, role("dave", None), &two),
        sign("node:b", 1, Order::RevokeNode {}, &["dave"]),
        sign("node:b", 1, admit("two"), &["dave"]),
        sign("key:k", 1, epoch(3), &["alice"]),
        sign("key:k", 2, epoch(2), &["bob"]),
    ];
    let last = vec![
        sign("key:k", 9, Order::EnableKey {}, &two),
        sign("key:k", 9, epoch(7), &two),
        sign("node:a", 9, Order::UnrevokeNode {}, &two),
        sign("node:a", 9, admit("one"), &two),
        sign("node:b", 9, Order::RevokeNode {}, &two),
        sign("node:b", 9, admit("two"), &two),
        sign("operator:alice", 9, role("alice", None), &two),
        sign("operator:dave", 9, role("dave", None), &two),
    ];
    Site {
        deployments: deployments.collect(),
        commands,
        last,
    }
});

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An operator brings a command to a holder.
    Order(usize, usize),
    /// A holder pulls all that a peer has.
    Pull(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..N, 0..SITE.commands.len()).prop_map(|(at, which)| Step::Order(at, which)),
        (0..N, 0..N).prop_map(|(at, from)| Step::Pull(at, from)),
    ];
    proptest::collection::vec(step, 0..60)
}

struct Holder {
    state: State,
    witnesses: Witnesses,
}

struct World {
    holders: Vec<Holder>,
    /// Which of the site's commands were ever in force.
    in_force: BTreeSet<usize>,
}

impl World {
    fn new() -> Self {
        let holders = SITE.deployments.iter().map(|deployment| Holder {
            state: State::new(Arc::clone(deployment)),
            witnesses: Witnesses::default(),
        });
        Self {
            holders: holders.collect(),
            in_force: BTreeSet::new(),
        }
    }

    /// As a holder takes a command from an operator, or out of a peer's log.
    fn take(&mut self, at: usize, envelope: &[u8], applied_by: Option<&str>) {
        let Holder { state, witnesses } = &mut self.holders[at];
        let Ok(checked) = commands::check(state, envelope) else {
            return;
        };
        let adopted = applied_by.is_some_and(|peer| witnesses.prove(state, &checked, peer));
        if adopted || commands::approve(state, &checked, Judge::Present).is_ok() {
            state.apply(&checked, 0);
        }
    }

    /// Returns whether there was anything that is new to the log of `at`.
    fn pull(&mut self, at: usize, from: usize) -> bool {
        let before = self.holders[at].state.commands().len();
        let name = SITE.deployments[from].me.name.clone();
        for stored in self.holders[from].state.commands().to_vec() {
            if !self.holders[at].state.has_envelope(&stored.envelope) {
                self.take(at, &stored.envelope, Some(&name));
            }
        }
        self.holders[at].state.commands().len() > before
    }

    fn settle(&mut self) {
        while (0..N * N).any(|pair| self.pull(pair / N, pair % N)) {}
    }

    /// What would become of a command at a holder: everything that is known of its register.
    fn standing(&self, at: usize, envelope: &[u8]) -> Result<Applied, Refusal> {
        let mut state = self.holders[at].state.clone();
        let checked = commands::check(&state, envelope)?;
        Ok(state.apply(&checked, 0))
    }

    /// Who has applied a command, and nothing newer.
    fn confirmed(&self, which: usize) -> BTreeSet<String> {
        let has = |at: &usize| self.standing(*at, &SITE.commands[which]) == Ok(Applied::Known);
        let names = (0..N).filter(has);
        names
            .map(|at| SITE.deployments[at].me.name.clone())
            .collect()
    }

    fn note_what_is_in_force(&mut self) {
        for (which, envelope) in SITE.commands.iter().enumerate() {
            let state = &self.holders[0].state;
            let envelope = dsse::Unverified::parse(envelope).unwrap();
            let command: Command = serde_json::from_slice(envelope.unverified_payload()).unwrap();
            let requirement = state.requirement(&command.subject, &command.order);
            if requirement.is_met(&self.confirmed(which)) {
                self.in_force.insert(which);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_in_force_is_known_to_all_and_the_next_version_makes_them_equal(steps in steps()) {
        let mut world = World::new();
        let mut too_late = BTreeSet::new();
        for step in steps {
            match step {
                Step::Order(at, which) => world.take(at, &SITE.commands[which], None),
                Step::Pull(at, from) => {
                    world.pull(at, from);
                }
            }
            world.note_what_is_in_force();
            if too_late.is_empty() && world.in_force.contains(&ALICE_IS_REMOVED) {
                let nobody = |which: &usize| world.confirmed(*which).is_empty() && !world.in_force.contains(which);
                too_late = OF_ALICE.into_iter().filter(nobody).collect();
            }
        }
        world.settle();
        world.note_what_is_in_force();
        // Nobody lacks what was in force, whatever became of its signers.
        for which in &world.in_force {
            for at in 0..N {
                let standing = world.standing(at, &SITE.commands[*which]);
                prop_assert!(
                    matches!(standing, Ok(Applied::Known | Applied::Older | Applied::Lost { .. })),
                    "{which} at {at}: {standing:?}"
                );
            }
        }
        // A removal that is in force is the end: nothing permissive comes into force any more.
        prop_assert!(too_late.is_disjoint(&world.in_force), "{too_late:?}");
        // And where holders still differ, the next version makes them equal.
        for envelope in &SITE.last {
            world.take(0, envelope, None);
        }
        world.settle();
        for (which, envelope) in SITE.last.iter().enumerate() {
            for at in 0..N {
                prop_assert_eq!(world.standing(at, envelope), Ok(Applied::Known), "{} at {}", which, at);
            }
        }
    }
}

#[test]
fn one_peer_alone_cannot_speak_for_a_removed_administrator() {
    let mut world = World::new();
    let [disable, enable, removal] = [0, 1, ALICE_IS_REMOVED].map(|which| &SITE.commands[which]);
    for at in [0, 1] {
        world.take(at, removal, None);
    }
    for envelope in [disable, enable] {
        world.take(2, envelope, None);
    }
    world.settle();
    for at in [0, 1] {
        assert_eq!(
            world.standing(at, enable),
            Ok(Applied::Applied { instead_of: None })
        );
    }
    // Two make it true.
    let mut world = World::new();
    for at in [1, 2] {
        world.take(at, enable, None);
    }
    world.take(0, removal, None);
    assert!(world.pull(0, 1) || world.standing(0, enable) != Ok(Applied::Known));
    world.pull(0, 2);
    assert_eq!(world.standing(0, enable), Ok(Applied::Known));
}
