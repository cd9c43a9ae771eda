//! The vectors of key life, tokens, unlabelled mode and suites 02 and 03 (`testdata/threshold/README.md`).

use std::{
    cell::{Cell, UnsafeCell},
    collections::{BTreeMap, BTreeSet},
};

use aes_kw::{KeyInit, KwAes256};
use aws_lc_rs::{hmac, test::rand::FixedSliceSequenceRandom};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    Combiner, DescriptorParts, GroupKey, HolderEntry, HolderId, HpkePrivateKey, Label, Part,
    PartialDecryption, ProofKind, ReplyKem, Share, Suite, ThresholdError, Wrap,
    contribution::{self, Received, Reshare},
    dem::WrapKey,
    gf256,
    group::{self, Point, Scalar},
    hybrid, object,
    partial::Question,
    repair::{Repair, RepairScalar},
    share_list::{Binding, ShareList},
    sss::{self, SssAnswer},
    unlabelled::{self, UnlabelledWrap},
    wrap::sha256,
    x_only::{self, EcdhXOnly, XOnlyError},
};

/// Runs every case of a file; `run` gives the outputs or the error.
fn run_all(file: &str, run: impl Fn(&Value, &str, &Value) -> Result<Value, ThresholdError>) {
    let file: Value = serde_json::from_str(file).unwrap();
    let (mut positive, mut negative) = (0, 0);
    for case in file["cases"].as_array().unwrap() {
        let (id, op) = (text(&case["id"]), text(&case["op"]));
        let result = run(&file["keys"], op, &case["in"]);
        match (case.get("out"), result) {
            (Some(expected), Ok(out)) => {
                assert_eq!(&out, expected, "{id}");
                positive += 1;
            }
            (None, Err(error)) => {
                assert_eq!(error.id.as_str(), text(&case["error"]), "{id}");
                assert_eq!(error.culprit.to_string(), text(&case["culprit"]), "{id}");
                negative += 1;
            }
            (_, result) => panic!("{id}: {result:?}"),
        }
    }
    assert_eq!(file["positive"], positive);
    assert_eq!(file["negative"], negative);
}

#[test]
fn lifecycle() {
    run_all(
        include_str!("../../../testdata/threshold/lifecycle.json"),
        |keys, op, input| {
            let key = || group_key(keys, input);
            Ok(match op {
                "refresh" => refresh(&key(), input)?,
                "reshare" => reshare(&key(), input)?,
                "repair" => repair(&key(), input)?,
                "contribution" => contribution_check(keys, input)?,
                "verify_share" => {
                    let holder = holder(&input["holder"]);
                    share(&key(), holder, &input["share"]).verify(&key())?;
                    json!({"valid": true})
                }
                "combine_with" => combine_with(input)?,
                other => panic!("unknown operation {other}"),
            })
        },
    );
}

fn refresh(key: &GroupKey, input: &Value) -> Result<Value, ThresholdError> {
    let dealers = by_holder(&input["dealers"]);
    let receivers: BTreeSet<_> = key.holders().iter().map(|entry| entry.index).collect();
    let dealt: Vec<_> = dealers
        .iter()
        .map(|(&from, coefficients)| {
            let mut coefficients = scalars(coefficients);
            coefficients.insert(0, Scalar::ZERO);
            contribution::contribution(from, &coefficients, &receivers, 1).unwrap()
        })
        .collect();
    let mut shares = BTreeMap::new();
    for (to, old) in by_holder(&input["shares"]) {
        let checked = dealt
            .iter()
            .map(|one| contribution::check_refresh(key, &received(one, to)))
            .collect::<Result<Vec<_>, _>>()?;
        shares.insert(
            to,
            contribution::apply_refresh(&share(key, to, old), &checked)?,
        );
    }
    let commitments: BTreeMap<_, _> = dealt
        .iter()
        .map(|one| (one.from, one.commitments.clone()))
        .collect();
    let new = contribution::refreshed_commitments(key, &commitments)?;
    let entries = key.holders().iter().map(|entry| HolderEntry {
        public_share: contribution::public_share(&new, entry.index).ok(),
        ..entry.clone()
    });
    let descriptor = next_key(key, key.parts()[0].t, new.clone(), entries.collect());
    output(&commitments, &shares, &descriptor)
}

fn reshare(key: &GroupKey, input: &Value) -> Result<Value, ThresholdError> {
    let plan = Reshare {
        set: holders(&input["set"]),
        t: small(&input["t"]),
        receivers: holders(&input["holders"]),
    };
    let coefficients = by_holder(&input["coefficients"]);
    let dealt: Vec<_> = by_holder(&input["shares"])
        .into_iter()
        .map(|(from, old)| {
            let coefficients = Zeroizing::new(scalars(coefficients[&from]));
            contribution::reshare_with(key, &share(key, from, old), &plan, coefficients).unwrap()
        })
        .collect();
    let mut shares = BTreeMap::new();
    for &to in &plan.receivers {
        let checked = dealt
            .iter()
            .map(|one| contribution::check_reshare(key, &plan, &received(one, to)))
            .collect::<Result<Vec<_>, _>>()?;
        shares.insert(to, contribution::apply_reshare(&checked)?);
    }
    let commitments: BTreeMap<_, _> = dealt
        .iter()
        .map(|one| (one.from, one.commitments.clone()))
        .collect();
    let new = contribution::reshared_commitments(key, &plan, &commitments)?;
    let entries = plan
        .receivers
        .iter()
        .zip(["EU", "BR", "JP", "EU", "SG"])
        .map(|(&index, jurisdiction)| HolderEntry {
            index,
            id: format!("spiffe://sealift.example/holder/new-{index}").into(),
            jurisdiction: jurisdiction.into(),
            public_share: contribution::public_share(&new, index).ok(),
            proof: ProofKind::Dleq,
            kem_public_key: None,
        });
    let descriptor = next_key(key, plan.t, new.clone(), entries.collect());
    output(&commitments, &shares, &descriptor)
}

fn output(
    commitments: &BTreeMap<HolderId, Vec<[u8; 33]>>,
    shares: &BTreeMap<HolderId, Share>,
    descriptor: &GroupKey,
) -> Result<Value, ThresholdError> {
    for share in shares.values() {
        share.verify(descriptor)?;
    }
    let commitments = commitments.iter().map(|(from, commitments)| {
        let commitments: Vec<_> = commitments.iter().map(hex::encode).collect();
        (from.to_string(), json!(commitments))
    });
    let shares = shares
        .iter()
        .map(|(holder, share)| (holder.to_string(), json!(hex::encode(share.expose()))));
    Ok(json!({
        "commitments_per_dealer": Value::Object(commitments.collect()),
        "shares": Value::Object(shares.collect()),
        "descriptor": descriptor_json(descriptor),
    }))
}

fn repair(key: &GroupKey, input: &Value) -> Result<Value, ThresholdError> {
    let set = holders(&input["set"]);
    let plan = Repair::new(key, holder(&input["lost"]), set.clone())?;
    let summands = by_holder(&input["delta_to_1"]);
    let splits: BTreeMap<_, _> = by_holder(&input["shares"])
        .into_iter()
        .map(|(from, old)| {
            let summand = [scalar(summands[&from])];
            (
                from,
                plan.split_with(&share(key, from, old), &summand).unwrap(),
            )
        })
        .collect();
    let copy = |scalar: &RepairScalar| RepairScalar::from_octets(Zeroizing::new(*scalar.expose()));
    let mut sums = BTreeMap::new();
    for to in set {
        let received = splits
            .iter()
            .map(|(&from, split)| (from, copy(&split[&to])))
            .collect();
        sums.insert(to, plan.sum(&received)?);
    }
    let sigma = sums
        .iter()
        .map(|(from, sum)| (from.to_string(), json!(hex::encode(sum.expose()))))
        .collect();
    let share = plan.finish(key, &sums)?;
    Ok(json!({"sigma": Value::Object(sigma), "share": hex::encode(share.expose())}))
}

fn combine_with(input: &Value) -> Result<Value, ThresholdError> {
    let key = parse_descriptor(&input["descriptor"]);
    let wrap = Wrap::parse(&octets(&input["wrap"]))?;
    let combiner = Combiner::new(&key, wrap.check(&key)?, array(&input["request_hash"]));
    let partials = list(&input["partials"])
        .iter()
        .map(|partial| PartialDecryption::parse(&octets(partial)))
        .collect::<Result<Vec<_>, _>>()?;
    let ((z, plaintext), culprits) = combiner.open(&partials).map_err(|failed| failed.error)?;
    Ok(json!({
        "z": hex::encode(group::encode(&z).unwrap()),
        "plaintext": hex::encode(&*plaintext),
        "culprits": culprits,
    }))
}

fn contribution_check(keys: &Value, input: &Value) -> Result<Value, ThresholdError> {
    let commitments: Vec<[u8; 33]> = list(&input["commitments"]).iter().map(array).collect();
    let received = Received {
        from: holder(&input["from"]),
        to: holder(&input["to"]),
        commitments: &commitments,
        value: &array(&input["value"]),
    };
    match text(&input["kind"]) {
        "refresh" => {
            contribution::check_refresh(&parse_descriptor(&keys["k23"]), &received)?;
        }
        "reshare" => {
            let plan = Reshare {
                set: holders(&input["set"]),
                t: small(&input["t"]),
                receivers: (1..=5).filter_map(HolderId::new).collect(),
            };
            contribution::check_reshare(&group_key(keys, input), &plan, &received)?;
        }
        other => panic!("unknown kind {other}"),
    }
    Ok(json!({"valid": true}))
}

#[test]
fn hsm() {
    run_all(
        include_str!("../../../testdata/threshold/hsm.json"),
        |keys, op, input| {
            assert_eq!(op, "x_only");
            let key = group_key(keys, input);
            let public_share = key
                .holder(holder(&input["holder"]))
                .unwrap()
                .public_share
                .unwrap();
            let calls = match &input["r1_plus_g"] {
                Value::Null => Vec::new(),
                shifted => vec![
                    (array(&input["r1"]), array(&input["x_of_d"])),
                    (array(shifted), array(&input["x_of_t"])),
                ],
            };
            let token = Token {
                calls,
                made: Cell::new(0),
            };
            let result = x_only::recover(&array(&input["r1"]), &public_share, &token);
            assert_eq!(token.made.get(), token.calls.len());
            match result {
                Ok(d) => Ok(json!({"d": hex::encode(*d)})),
                Err(XOnlyError::Threshold(error)) => Err(error),
                Err(XOnlyError::Token(never)) => match never {},
            }
        },
    );
}

/// Expects exactly these calls, in this order.
struct Token {
    calls: Vec<([u8; 33], [u8; 32])>,
    made: Cell<usize>,
}

impl EcdhXOnly for Token {
    type Error = std::convert::Infallible;

    fn x(&self, point: &[u8; 33]) -> Result<Zeroizing<[u8; 32]>, Self::Error> {
        let (expected, answer) = self.calls[self.made.get()];
        assert_eq!(*point, expected);
        self.made.set(self.made.get() + 1);
        Ok(Zeroizing::new(answer))
    }
}

fn received(one: &contribution::Contribution, to: HolderId) -> Received<'_> {
    Received {
        from: one.from,
        to,
        commitments: &one.commitments,
        value: &one.values[&to],
    }
}

fn next_key(
    old: &GroupKey,
    t: u8,
    commitments: Vec<[u8; 33]>,
    holders: Vec<HolderEntry>,
) -> GroupKey {
    GroupKey::from_parts(DescriptorParts {
        key_id: old.key_id().into(),
        epoch: old.epoch(),
        generation: old.generation() + 1,
        public_key: old.public_key(),
        unbound: old.unbound(),
        parts: vec![Part {
            t,
            holders: holders.iter().map(|entry| entry.index).collect(),
            commitments,
        }],
        holders,
    })
    .unwrap()
}

fn share(key: &GroupKey, holder: HolderId, octets: &Value) -> Share {
    Share::from_octets(holder, key.generation(), Zeroizing::new(array(octets))).unwrap()
}

fn group_key(keys: &Value, input: &Value) -> GroupKey {
    parse_descriptor(&keys[text(&input["key"])])
}

/// Reads a descriptor of the vector files, whose octets are in hex.
fn parse_descriptor(json: &Value) -> GroupKey {
    let parts = list(&json["access"]["parts"]).iter().map(|part| Part {
        t: small(&part["t"]),
        holders: list(&part["holders"]).iter().map(holder).collect(),
        commitments: list(&part["commitments"]).iter().map(array).collect(),
    });
    let holders = list(&json["holders"]).iter().map(|entry| HolderEntry {
        index: holder(&entry["index"]),
        id: text(&entry["id"]).into(),
        jurisdiction: text(&entry["jurisdiction"]).into(),
        public_share: Some(array(&entry["public_share"])),
        proof: serde_json::from_value(entry["proof"].clone()).unwrap(),
        kem_public_key: None,
    });
    GroupKey::from_parts(DescriptorParts {
        key_id: text(&json["key_id"]).into(),
        epoch: small(&json["epoch"]).into(),
        generation: small(&json["generation"]).into(),
        public_key: Some(array(&json["public_key"])),
        unbound: json["unbound"] == true,
        parts: parts.collect(),
        holders: holders.collect(),
    })
    .unwrap()
}

fn descriptor_json(key: &GroupKey) -> Value {
    let parts = key.parts().iter().map(|part| {
        let commitments: Vec<_> = part.commitments.iter().map(hex::encode).collect();
        json!({"t": part.t, "holders": part.holders, "commitments": commitments})
    });
    let holders = key.holders().iter().map(|entry| {
        json!({
            "index": entry.index,
            "id": entry.id,
            "jurisdiction": entry.jurisdiction,
            "public_share": hex::encode(entry.public_share.unwrap()),
            "proof": entry.proof,
        })
    });
    json!({
        "v": 1,
        "suite": key.suite().as_str(),
        "key_id": key.key_id(),
        "epoch": key.epoch(),
        "generation": key.generation(),
        "public_key": hex::encode(key.public_key().unwrap()),
        "access": {"parts": parts.collect::<Vec<_>>()},
        "holders": holders.collect::<Vec<_>>(),
    })
}

fn by_holder(object: &Value) -> BTreeMap<HolderId, &Value> {
    let object = object.as_object().unwrap();
    object
        .iter()
        .map(|(index, value)| (HolderId::new(index.parse().unwrap()).unwrap(), value))
        .collect()
}

fn holder(index: &Value) -> HolderId {
    HolderId::new(small(index)).unwrap()
}

fn holders(indices: &Value) -> BTreeSet<HolderId> {
    list(indices).iter().map(holder).collect()
}

fn small(number: &Value) -> u8 {
    number.as_u64().unwrap().try_into().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn octets(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    octets(value).try_into().unwrap()
}

fn scalar(value: &Value) -> Scalar {
    group::decode_scalar(&octets(value)).unwrap()
}

fn scalars(values: &Value) -> Vec<Scalar> {
    list(values).iter().map(scalar).collect()
}

#[test]
fn sss() {
    run_all(
        include_str!("../../../testdata/threshold/sss.json"),
        |_, op, input| {
            Ok(match op {
                "gf256" => shares_of_polynomials(input),
                "sss_wrap" => sss_wrap(input),
                "sss_open" => sss_open(input)?,
                "hybrid_wrap" => hybrid_wrap(input),
                other => panic!("unknown operation {other}"),
            })
        },
    );
}

fn shares_of_polynomials(input: &Value) -> Value {
    let coefficients = list(&input["coefficients"]).iter().map(array);
    let coefficients: Vec<_> = coefficients.map(Zeroizing::new).collect();
    let shares: BTreeMap<_, _> = holders(&input["holders"])
        .into_iter()
        .map(|holder| (holder, gf256::evaluate(&coefficients, holder)))
        .collect();
    assert_eq!(*gf256::combine(&shares), *coefficients[0]);
    let shares = shares
        .iter()
        .map(|(holder, share)| (holder.to_string(), json!(hex::encode(**share))));
    json!({"shares": Value::Object(shares.collect())})
}

fn sss_wrap(input: &Value) -> Value {
    let keys = x_wing_keys(input);
    let key = GroupKey::from_parts(DescriptorParts {
        key_id: text(&input["key_id"]).into(),
        epoch: small(&input["epoch"]).into(),
        generation: 1,
        public_key: None,
        unbound: false,
        parts: vec![Part {
            t: small(&input["t"]),
            holders: keys.keys().copied().collect(),
            commitments: Vec::new(),
        }],
        holders: keys
            .iter()
            .map(|(&index, key)| HolderEntry {
                index,
                id: "holder".into(),
                jurisdiction: "EU".into(),
                public_share: None,
                proof: ProofKind::Dleq,
                kem_public_key: Some(key.public().into()),
            })
            .collect(),
    })
    .unwrap();
    let again = GroupKey::from_json(&key.to_json()).unwrap();
    assert_eq!(again.to_json(), key.to_json());
    let (label, plaintext) = (label(input), octets(&input["plaintext"]));
    // Drawn in this order: the secret, the coefficients, the randomness of each encapsulation.
    let drawn = drawn(input);
    let drawn: Vec<&[u8]> = drawn.iter().map(|octets| &octets[..]).collect();
    let wrap = key.wrap(&label, &plaintext, &sequence(&drawn)).unwrap();

    let checked = key.check_sss(&wrap).unwrap();
    let opened: Vec<_> = keys
        .iter()
        .map(|(&holder, key)| checked.open_share(holder, key).unwrap())
        .map(|share| SssAnswer {
            generation: 1,
            share,
        })
        .map(|answer| SssAnswer::parse(&answer.write()).unwrap())
        .collect();
    let combined = checked.combine(&opened).unwrap();
    assert_eq!(combined.secret.expose(), plaintext);
    assert_eq!(combined.culprits, []);

    let binding = Binding::new(&label, wrap.label_octets());
    let shares = opened.iter().map(|answer| &answer.share);
    let shares = shares.zip(entries(wrap.list()));
    let shares = shares.map(|(share, [commitment, enc, ct])| {
        json!({
            "holder": share.holder(),
            "share": hex::encode(share.expose()),
            "hpke_info": hex::encode(binding.info(share.holder())),
            "commitment": hex::encode(commitment),
            "enc_sha256": hex::encode(sha256(enc)),
            "ct": hex::encode(ct),
        })
    });
    let info = sss::kek_info(wrap.label_octets(), wrap.list());
    let secret = octets(&input["coefficients"][0]);
    let (kek, kc) = split(&WrapKey::derive(b"", &secret, &info));
    json!({
        "holder_public_keys_sha256":
            keys.values().map(|key| hex::encode(sha256(key.public()))).collect::<Vec<_>>(),
        "shares": shares.collect::<Vec<_>>(),
        "share_list_sha256": hex::encode(sha256(wrap.list())),
        "hkdf_info": hex::encode(info),
        "prk": extract(b"", &secret),
        "kek": kek,
        "kc": kc,
        "c": hex::encode(wrap.c()),
        "compact": hex::encode(wrap.as_bytes()),
        "compact_len": wrap.as_bytes().len(),
    })
}

fn sss_open(input: &Value) -> Result<Value, ThresholdError> {
    let label = octets(&input["label_cbor"]);
    let suite = Suite::from_name(text(&input["suite"])).unwrap();
    let (key_id, epoch) = (text(&input["key_id"]), small(&input["epoch"]).into());
    let binding = Binding::of(suite, key_id, epoch, &label);
    let holder = holder(&input["holder"]);
    let list = [
        &[1][..],
        &holder.octets(),
        &octets(&input["commitment"]),
        &1120_u16.to_be_bytes(),
        &octets(&input["enc"]),
        &48_u16.to_be_bytes(),
        &octets(&input["ct"]),
    ]
    .concat();
    let key = x_wing_key(&input["seed"]);
    let share = ShareList::parse(&list)?.open(holder, &key, &binding)?;
    Ok(json!({"share": hex::encode(share.expose())}))
}

fn hybrid_wrap(input: &Value) -> Value {
    let keys = x_wing_keys(input);
    let group = hybrid_key(input, &keys);
    let (label, plaintext) = (label(input), octets(&input["plaintext"]));
    let drawn = drawn(input);
    let drawn: Vec<&[u8]> = drawn.iter().map(|octets| &octets[..]).collect();
    let (r, s) = (scalar(&input["r"]), scalar(&input["s"]));
    let wrap = group
        .wrap_hybrid_with(&label, &plaintext, [&r, &s], &sequence(&drawn))
        .unwrap();
    group.check_hybrid(&wrap).unwrap();

    let curve = group.curve().unwrap();
    let z = curve.y * r;
    let [r1, _, e, f] = wrap.group_elements().unwrap();
    let secret = octets(&input["coefficients"][0]);
    let ikm = [&group::x_coordinate(&z).unwrap()[..], &secret].concat();
    let info = hybrid::kek_info(r1, wrap.label_octets(), wrap.list());
    let (kek, kc) = split(&WrapKey::derive(&curve.public_key, &ikm, &info));
    let point = |point: Point| hex::encode(group::encode(&point).unwrap());
    json!({
        "gamma": hex::encode(curve.gamma_encoded),
        "z_x": hex::encode(&ikm[..32]),
        "share_list_sha256": hex::encode(sha256(wrap.list())),
        "ikm": hex::encode(&ikm),
        "hkdf_info": hex::encode(info),
        "prk": extract(&curve.public_key, &ikm),
        "kek": kek,
        "kc": kc,
        "c": hex::encode(wrap.c()),
        "w1": point(Point::GENERATOR * s),
        "w2": point(curve.gamma * s),
        "e": hex::encode(e),
        "f": hex::encode(f),
        "compact": hex::encode(wrap.as_bytes()),
        "compact_len": wrap.as_bytes().len(),
    })
}

/// A key of the given secret; the coefficients above the constant term do not matter to a wrap.
fn hybrid_key(input: &Value, keys: &BTreeMap<HolderId, HpkePrivateKey>) -> GroupKey {
    let mut coefficients = vec![Scalar::ONE; small(&input["t"]).into()];
    coefficients[0] = scalar(&input["secret"]);
    let commitments: Vec<_> = coefficients
        .iter()
        .map(|coefficient| group::encode(&group::multiply_generator(coefficient)).unwrap())
        .collect();
    let holders = keys.iter().map(|(&index, key)| HolderEntry {
        index,
        id: "holder".into(),
        jurisdiction: "EU".into(),
        public_share: contribution::public_share(&commitments, index).ok(),
        proof: ProofKind::Dleq,
        kem_public_key: Some(key.public().into()),
    });
    GroupKey::from_parts(DescriptorParts {
        key_id: text(&input["key_id"]).into(),
        epoch: small(&input["epoch"]).into(),
        generation: 1,
        public_key: Some(array(&input["public_key"])),
        unbound: false,
        parts: vec![Part {
            t: small(&input["t"]),
            holders: keys.keys().copied().collect(),
            commitments: commitments.clone(),
        }],
        holders: holders.collect(),
    })
    .unwrap()
}

fn x_wing_keys(input: &Value) -> BTreeMap<HolderId, HpkePrivateKey> {
    let seeds = list(&input["holder_seeds"]).iter();
    (1..)
        .filter_map(HolderId::new)
        .zip(seeds.map(x_wing_key))
        .collect()
}

fn x_wing_key(seed: &Value) -> HpkePrivateKey {
    HpkePrivateKey::from_octets(ReplyKem::XWing, Zeroizing::new(array(seed))).unwrap()
}

fn drawn(input: &Value) -> Vec<Vec<u8>> {
    let coefficients = list(&input["coefficients"]).iter();
    let encapsulations = list(&input["encaps_randomness"]).iter();
    coefficients.chain(encapsulations).map(octets).collect()
}

fn sequence<'a>(drawn: &'a [&'a [u8]]) -> FixedSliceSequenceRandom<'a> {
    FixedSliceSequenceRandom {
        bytes: drawn,
        current: UnsafeCell::new(0),
    }
}

/// Reads the label from its JSON view, and compares its encoding.
fn label(input: &Value) -> Label {
    let label = Label::parse(&octets(&input["label_cbor"])).unwrap();
    assert_eq!(serde_json::to_value(&label).unwrap(), input["label"]);
    label
}

/// Cuts a list into commitment, encapsulated key and ciphertext of each holder.
fn entries(list: &[u8]) -> impl Iterator<Item = [&[u8]; 3]> {
    let entries = list[1..].chunks(2 + 32 + 2 + 1120 + 2 + 48);
    entries.map(|entry| [&entry[2..34], &entry[36..1156], &entry[1158..]])
}

fn split(key: &WrapKey) -> (String, String) {
    let (kek, kc) = key.expose();
    (hex::encode(kek), hex::encode(kc))
}

/// HKDF-Extract (RFC 5869, section 2.2).
fn extract(salt: &[u8], secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    hex::encode(hmac::sign(&key, secret))
}

#[test]
fn unlabelled() {
    run_all(
        include_str!("../../../testdata/threshold/unlabelled.json"),
        |keys, op, input| {
            Ok(match op {
                "unlabelled" => unlabelled_open(keys, input)?,
                "unlabelled_open" => {
                    let jwe = input["jwe"].to_string();
                    let r1 = UnlabelledWrap::from_jwe(jwe.as_bytes())?[0].r1();
                    let x = Zeroizing::new(array(&input["z_x"]));
                    let secret = unlabelled::open(jwe.as_bytes(), r1, x)?;
                    json!(hex::encode(secret.expose()))
                }
                "epk" => {
                    let jwe = jwe_with(&input["epk"]);
                    let wraps = UnlabelledWrap::from_jwe(jwe.as_bytes())?;
                    json!({"r1": hex::encode(wraps[0].r1())})
                }
                other => panic!("unknown operation {other}"),
            })
        },
    );
}

fn unlabelled_open(keys: &Value, input: &Value) -> Result<Value, ThresholdError> {
    // The descriptor of the file does not say that its key is for this mode; nothing that is computed depends on it.
    let mut descriptor = keys[text(&input["key"])].clone();
    descriptor["unbound"] = true.into();
    let key = parse_descriptor(&descriptor);
    let jwe = input["jwe"].to_string();
    let [wrap] = UnlabelledWrap::from_jwe(jwe.as_bytes())?[..] else {
        panic!("one recipient");
    };
    assert_eq!(UnlabelledWrap::from_epk(&wrap.r1()), Ok(wrap));
    let request_hash = array(&input["request_hash"]);
    let request = [&[0][..], &octets(&input["request"])].concat();
    assert_eq!(sha256(&request), request_hash);

    let (r1, digest) = (wrap.r1(), wrap.digest(&key));
    let question = Question::decode(&r1, &request_hash, &digest)?;
    let mut partials = Vec::new();
    for answer in list(&input["answers"]) {
        let share = share(&key, holder(&answer["holder"]), &answer["share"]);
        let partial = share.answer_with(&key, &question, &scalar(&answer["k"]))?;
        partial.verify(&key, &r1, &request_hash, &digest)?;
        partials.push(partial);
    }
    let combined =
        unlabelled::combine_unlabelled(&key, &wrap, jwe.as_bytes(), &request_hash, &partials)
            .map_err(|failed| failed.error)?;
    assert_eq!(combined.culprits, []);

    let holders: Vec<_> = partials.iter().map(PartialDecryption::holder).collect();
    let z = partials.iter().fold(Point::IDENTITY, |sum, partial| {
        let d = group::decode_point(&partial.as_bytes()[7..40]).unwrap();
        sum + d * group::lagrange(&holders, partial.holder(), 0).unwrap()
    });
    let x = group::x_coordinate(&z).unwrap();
    let other_info = group::length_prefixed(&[b"ECDH-ES+A256KW", b"", b""]);
    let kdf = [&[0, 0, 0, 1], &x[..], &other_info, &256_u32.to_be_bytes()].concat();
    let kek = sha256(&kdf);
    let encrypted = object::decode(text(&input["jwe"]["encrypted_key"])).unwrap();
    let mut cek = [0; 32];
    let cipher = KwAes256::new_from_slice(&kek).unwrap();
    cipher.unwrap_key(&encrypted, &mut cek).unwrap();
    Ok(json!({
        "r1": hex::encode(r1),
        "wrap_digest": hex::encode(digest),
        "partials": partials.iter().map(|one| hex::encode(one.as_bytes())).collect::<Vec<_>>(),
        "z_x": hex::encode(&x[..]),
        "kek": hex::encode(kek),
        "cek": hex::encode(cek),
        "plaintext": hex::encode(combined.secret.expose()),
    }))
}

/// Makes a JWE with this ephemeral key, of which nothing else matters.
fn jwe_with(epk: &Value) -> String {
    let header = json!({"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "epk": epk});
    json!({
        "protected": object::encode(header.to_string()),
        "encrypted_key": object::encode([0; 40]),
        "iv": object::encode([0; 12]),
        "ciphertext": object::encode([0; 1]),
        "tag": object::encode([0; 16]),
    })
    .to_string()
}
