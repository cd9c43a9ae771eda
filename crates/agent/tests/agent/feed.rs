use aws_lc_rs::rand::SystemRandom;
use sealift_agent::server::{CommandError, read_command};
use sealift_holder::command::{Command, Order};
use sealift_holder::deployment::DeploymentId;
use sealift_holder::descriptor::Administrator;
use sealift_holder::dsse;
use sealift_holder::keys::SigningKey;
use sealift_holder::statement::{COMMAND, POSTURE};

use crate::support::{DEPLOYMENT, command};

/// The envelope of a command signed by `keys`.
fn signed(command: &Command, kind: &str, keys: &[&SigningKey]) -> Vec<u8> {
    let payload = serde_json::to_vec(command).unwrap();
    dsse::sign(kind, &payload, keys, &SystemRandom::new()).unwrap()
}

#[test]
fn commands_count_with_the_signatures_of_enough_people() {
    let [alice, bob, alice_too, eve] = [(); 4].map(|()| SigningKey::generate().unwrap());
    let people = [("alice", &alice), ("bob", &bob), ("alice", &alice_too)];
    let administrators = people.map(|(name, key)| Administrator {
        name: name.into(),
        key: key.public().clone(),
    });
    let read = |envelope: &[u8]| read_command(envelope, DEPLOYMENT, &administrators);
    let revoke = command("node:n", 1, Order::RevokeNode {});
    let unrevoke = command("node:n", 2, Order::UnrevokeNode {});

    assert_eq!(
        read(&signed(&revoke, COMMAND, &[&alice])),
        Ok(revoke.clone())
    );
    assert_eq!(
        read(&signed(&unrevoke, COMMAND, &[&alice, &bob])),
        Ok(unrevoke.clone())
    );
    let one = CommandError::Approvals {
        found: 1,
        needed: 2,
    };
    assert_eq!(read(&signed(&unrevoke, COMMAND, &[&alice])), Err(one));
    // Two keys of one person, and one of nobody.
    assert_eq!(
        read(&signed(&unrevoke, COMMAND, &[&alice, &alice_too])),
        Err(one)
    );
    assert_eq!(read(&signed(&unrevoke, COMMAND, &[&alice, &eve])), Err(one));
    assert_eq!(
        read(&signed(&revoke, COMMAND, &[&eve])),
        Err(CommandError::Signature)
    );
    assert_eq!(
        read(&signed(&revoke, POSTURE, &[&alice])),
        Err(CommandError::Signature)
    );
    assert_eq!(read(b"{}"), Err(CommandError::Signature));
    // Signed by the right people, and for another deployment of theirs.
    let elsewhere = Command {
        deployment: DeploymentId([8; 16]),
        ..revoke.clone()
    };
    assert_eq!(
        read(&signed(&elsewhere, COMMAND, &[&alice, &bob])),
        Err(CommandError::OtherDeployment)
    );
    let future = Command { v: 2, ..revoke };
    assert_eq!(
        read(&signed(&future, COMMAND, &[&alice])),
        Err(CommandError::Malformed)
    );
}
