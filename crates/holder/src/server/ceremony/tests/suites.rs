//! Keys whose wraps hold shares that are sealed to each holder.

use super::*;

const THREE: [&str; 3] = ["fra", "gru", "nrt"];

fn plan_of(suite: Suite) -> KeyPlan {
    KeyPlan {
        suite,
        ..plan(2, &THREE)
    }
}

async fn order(hall: &Hall, version: u64, order: Order) -> Vec<u8> {
    let command = hall.command("key:default", version, order);
    hall.apply(&command).await;
    command
}

#[tokio::test]
async fn every_quorum_of_a_key_with_sealed_shares_opens_and_fewer_do_not() {
    for suite in [Suite::Hybrid, Suite::SssXwing] {
        let mut hall = Hall::new(3);
        let group = hall.create_as(&plan_of(suite)).await;
        assert_eq!(group.suite(), suite);
        let wrap = wrap(&group);
        hall.assert_every_quorum_opens(&wrap);
        // What a holder keeps is in its store, sealed, and nowhere else.
        for name in THREE {
            hall.open(name);
            let public = hall.share(name).unwrap().key().unwrap().public().to_vec();
            let entry = group.holders().iter().find(|entry| *entry.id == *name);
            assert_eq!(entry.unwrap().kem_public_key.as_deref(), Some(&*public));
        }
        hall.assert_every_quorum_opens(&wrap);
    }
}

#[tokio::test]
async fn a_refresh_of_a_hybrid_key_keeps_the_keys_that_images_are_sealed_to() {
    let hall = Hall::new(3);
    let old = hall.create_as(&plan_of(Suite::Hybrid)).await;
    let wrap = wrap(&old);
    let shares: Vec<_> = THREE.iter().map(|name| hall.share(name).unwrap()).collect();
    let command = order(&hall, 2, Order::RefreshKey { generation: 2 }).await;
    let prepared = hall.coordinator(&command).refresh(&old).await.unwrap();
    hall.announce(&prepared, 2).await;
    let new = hall.group("fra");
    assert_eq!(new.generation(), 2);
    assert!(new.is_same_key(&old));
    for (name, before) in THREE.iter().zip(&shares) {
        let after = hall.share(name).unwrap();
        let scalar = |share: &KeyShare| *share.share().unwrap().expose();
        assert_ne!(scalar(&after), scalar(before));
        assert_eq!(
            after.key().unwrap().expose(),
            before.key().unwrap().expose()
        );
    }
    hall.assert_every_quorum_opens(&wrap);
}

#[tokio::test]
async fn what_would_leave_images_without_their_holders_is_refused() {
    for suite in [Suite::Hybrid, Suite::SssXwing] {
        let hall = Hall::new(4);
        let group = hall.create_as(&plan_of(suite)).await;
        let (holders, dealers) = (strings(&["gru", "nrt", "osl"]), strings(&["gru", "nrt"]));
        let reshare = Order::ReshareKey {
            generation: 2,
            threshold: 2,
            holders: holders.clone(),
            dealers: dealers.clone(),
        };
        let command = order(&hall, 2, reshare).await;
        let coordinator = hall.coordinator(&command);
        let refused = coordinator.reshare(&group, 2, &holders, &dealers).await;
        let (_, _, reason) = blamed(refused.unwrap_err());
        assert!(reason.contains("seal them for a new key"), "{reason}");
        if suite == Suite::Hybrid {
            continue;
        }
        let command = order(&hall, 3, Order::RefreshKey { generation: 2 }).await;
        let refused = hall.coordinator(&command).refresh(&group).await;
        let (_, _, reason) = blamed(refused.unwrap_err());
        assert!(reason.contains("seal them for a new key"), "{reason}");
        let repair = Order::RepairKey {
            lost: "fra".to_owned(),
            helpers: dealers.clone(),
        };
        let command = order(&hall, 4, repair).await;
        let refused = hall.coordinator(&command).repair("fra", &dealers).await;
        let (_, _, reason) = blamed(refused.unwrap_err());
        assert!(reason.contains("seal them for a new key"), "{reason}");
    }
}

#[tokio::test]
async fn a_repair_brings_a_hybrid_share_back_as_long_as_the_holder_has_its_own_key() {
    let mut hall = Hall::new(3);
    let old = hall.create_as(&plan_of(Suite::Hybrid)).await;
    let wrap = wrap(&old);
    let id = id_of(&old);
    let before = hall.members["gru"].store.share(&id).unwrap().unwrap();
    let command = order(&hall, 2, Order::RefreshKey { generation: 2 }).await;
    let prepared = hall.coordinator(&command).refresh(&old).await.unwrap();
    hall.announce(&prepared, 2).await;
    let new = hall.group("fra");
    // As after a backup of before the refresh is restored: the old share is there, the new one is not.
    let (newer, older) = (id_of(&new), id.clone());
    let restore = hall.members["gru"].writer.transact(move |transaction| {
        transaction.delete_share(&newer);
        transaction.put_share(&older, before);
        transaction.state_mut().set_share("default", 1, None);
    });
    restore.await.unwrap();
    let helpers = strings(&["fra", "nrt"]);
    let repair = |helpers: &[String]| Order::RepairKey {
        lost: "gru".to_owned(),
        helpers: helpers.to_vec(),
    };
    let command = order(&hall, 3, repair(&helpers)).await;
    let repaired = hall.coordinator(&command).repair("gru", &helpers).await;
    repaired.unwrap();
    hall.assert_every_quorum_opens(&wrap);
    hall.open("gru");
    hall.assert_every_quorum_opens(&wrap);

    let newer = id_of(&new);
    let lose = hall.members["gru"].writer.transact(move |transaction| {
        transaction.delete_share(&newer);
        transaction.state_mut().set_share("default", 1, None);
    });
    lose.await.unwrap();
    let refused = hall.coordinator(&command).repair("gru", &helpers).await;
    let (holder, culprits, reason) = blamed(refused.unwrap_err());
    assert_eq!((holder.as_str(), culprits), ("gru", Vec::new()));
    assert!(reason.contains("lost as well"), "{reason}");
}

#[tokio::test]
async fn a_descriptor_with_a_key_that_no_holder_made_is_accepted_by_nobody() {
    for suite in [Suite::Hybrid, Suite::SssXwing] {
        let hall = Hall::new(3);
        let plan = plan_of(suite);
        let command = order(&hall, 1, Order::CreateKey(plan.clone())).await;
        let foreign = sealift_threshold::HpkePrivateKey::generate(
            sealift_threshold::ReplyKem::XWing,
            &SystemRandom::new(),
        );
        let foreign = Octets(foreign.unwrap().public().to_vec());
        // The coordinator, or whoever sits on the way, puts its own key in gru's place, everywhere.
        hall.tamper(move |_, request| {
            if let (Step::Accept, Some(descriptor)) = (request.step, &mut request.descriptor) {
                let mut json: serde_json::Value = serde_json::from_slice(&descriptor.0).unwrap();
                json["holders"][1]["kem_public_key"] = serde_json::to_value(&foreign).unwrap();
                descriptor.0 = serde_json::to_vec(&json).unwrap();
            }
        });
        let refused = hall.coordinator(&command).create(&plan).await;
        let (holder, _, reason) = blamed(refused.unwrap_err());
        assert_eq!(holder, "fra");
        assert!(
            reason.contains("not the one that its holder made"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_descriptor_of_another_suite_than_was_ordered_is_refused() {
    let hall = Hall::new(3);
    let plan = plan_of(Suite::Hybrid);
    let command = order(&hall, 1, Order::CreateKey(plan.clone())).await;
    hall.tamper(|_, request| {
        if let (Step::Accept, Some(descriptor)) = (request.step, &mut request.descriptor) {
            let mut json: serde_json::Value = serde_json::from_slice(&descriptor.0).unwrap();
            for holder in json["holders"].as_array_mut().unwrap() {
                let holder = holder.as_object_mut().unwrap();
                holder.remove("kem");
                holder.remove("kem_public_key");
            }
            descriptor.0 = serde_json::to_vec(&json).unwrap();
        }
    });
    let refused = hall.coordinator(&command).create(&plan).await;
    let (_, _, reason) = blamed(refused.unwrap_err());
    assert!(
        reason.contains("suite is not that of the command"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_key_made_twice_in_one_ceremony_is_the_same_and_other_plans_are_refused() {
    let hall = Hall::new(3);
    let plan = plan_of(Suite::SssXwing);
    let command = order(&hall, 1, Order::CreateKey(plan.clone())).await;
    let request = CeremonyRequest {
        ceremony: "ab".repeat(16),
        step: Step::KemKey,
        command: command.clone().into(),
        messages: Vec::new(),
        descriptor: None,
    };
    let mut keys = Vec::new();
    for _ in 0..2 {
        let answer = hall.step("fra", "default", &request).await.unwrap();
        let envelope = Unverified::parse(&answer.messages[0].0).unwrap();
        keys.push(
            parse(envelope.unverified_payload())
                .unwrap()
                .kem_public_key
                .unwrap(),
        );
    }
    assert_eq!(keys[0], keys[1]);
    // A dealer has no keys of holders, and stock tools seal no shares.
    for (version, wrong) in [
        (2, Order::ImportKey(plan.clone())),
        (
            3,
            Order::CreateKey(KeyPlan {
                unbound: true,
                ..plan.clone()
            }),
        ),
    ] {
        let command = order(&hall, version, wrong).await;
        let request = CeremonyRequest {
            command: command.into(),
            ..request.clone()
        };
        let answer = hall.step("fra", "default", &request).await.unwrap();
        assert!(answer.messages.is_empty());
        assert_eq!(answer.refusal.unwrap().code, crate::wire::Code::BadRequest);
    }
}
