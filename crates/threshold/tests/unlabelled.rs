//! Laws of the unlabelled mode (`SPEC.md`, section 13.1), with JWEs that the `keywrap` crate writes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand::SystemRandom;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sealift_keywrap::{LayerSecret, Recipient, WrapContext, keys};
use sealift_threshold::{
    CombineError, Combined, Culprit, DescriptorParts, ErrorId, GroupKey, HolderEntry, HolderId,
    Part, PartialDecryption, ProofKind, Share, ThresholdError, UnlabelledWrap, combine_unlabelled,
    deal, public_share,
};
use serde_json::{Value, json};

const SECRET: &[u8] = b"{\"symkey\":\"\"}";
const REQUEST: [u8; 32] = [7; 32];

#[test]
fn a_jwe_of_a_stock_tool_opens_with_t_partials_and_with_no_fewer() {
    let stock = Stock::new(&[]);
    for mask in 1_u8..8 {
        let present: Vec<u8> = (1..=3)
            .filter(|index| mask >> (index - 1) & 1 == 1)
            .collect();
        let partials: Vec<_> = present.iter().map(|index| stock.partial(*index)).collect();
        match stock.combine(&partials) {
            Ok(combined) => {
                assert!(present.len() >= 2);
                assert_eq!(combined.secret.expose(), SECRET);
                assert_eq!(combined.culprits, []);
            }
            Err(failed) => assert_eq!(
                (present.len(), failed.error),
                (1, error(ErrorId::PartialsInsufficient, Culprit::None))
            ),
        }
    }
}

#[test]
fn a_false_partial_is_named_whether_or_not_the_rest_is_enough() {
    let stock = Stock::new(&[]);
    let liar = stock.partial_with(1, 2);
    let combined = stock
        .combine(&[liar.clone(), stock.partial(2), stock.partial(3)])
        .unwrap();
    assert_eq!(combined.secret.expose(), SECRET);
    assert_eq!(combined.culprits, [holder(1)]);
    let failed = stock.combine(&[liar, stock.partial(2)]).unwrap_err();
    assert_eq!(
        failed.error,
        error(
            ErrorId::PartialProofInvalid,
            Culprit::Holder(Some(holder(1)))
        )
    );
}

#[test]
fn an_unproven_holder_is_refuted_by_the_others() {
    let stock = Stock::new(&[1]);
    let combined = stock
        .combine(&[stock.partial(1), stock.partial(2)])
        .unwrap();
    assert_eq!(combined.secret.expose(), SECRET);
    let liar = stock.partial_with(1, 2);
    let combined = stock
        .combine(&[liar.clone(), stock.partial(2), stock.partial(3)])
        .unwrap();
    assert_eq!(combined.secret.expose(), SECRET);
    assert_eq!(combined.culprits, [holder(1)]);
    let failed = stock.combine(&[liar, stock.partial(2)]).unwrap_err();
    assert_eq!(
        failed.error,
        error(
            ErrorId::JweOpenFailed,
            Culprit::Many(vec![Culprit::Holder(Some(holder(1))), Culprit::Encryptor])
        )
    );
}

#[test]
fn a_jwe_for_another_key_is_its_encryptors_doing() {
    let (stock, other) = (Stock::new(&[]), Stock::new(&[]));
    let wrap = UnlabelledWrap::from_jwe(&other.jwe).unwrap()[0];
    let partials = [1, 2].map(|index| {
        stock.shares[&holder(index)]
            .partial_unlabelled(&stock.key, &wrap, &REQUEST, &rng())
            .unwrap()
    });
    let failed = combine_unlabelled(&stock.key, &wrap, &other.jwe, &REQUEST, &partials);
    assert_eq!(
        failed.unwrap_err().error,
        error(ErrorId::JweOpenFailed, Culprit::Encryptor)
    );
}

#[test]
fn a_key_that_is_bound_to_labels_gives_no_unlabelled_partial() {
    let stock = Stock::new(&[]);
    let key = GroupKey::from_parts(DescriptorParts {
        key_id: stock.key.key_id().into(),
        epoch: 1,
        generation: 1,
        public_key: stock.key.public_key(),
        unbound: false,
        parts: stock.key.parts().to_vec(),
        holders: stock.key.holders().to_vec(),
    })
    .unwrap();
    let result = stock.shares[&holder(1)].partial_unlabelled(&key, &stock.wrap, &REQUEST, &rng());
    assert_eq!(
        result.unwrap_err(),
        error(ErrorId::ModeMismatch, Culprit::Presenter)
    );
}

#[test]
fn every_recipient_that_may_be_ours_is_found_and_no_other() {
    let [first, second] = [Stock::new(&[]), Stock::new(&[])].map(|stock| stock.epk());
    let off_curve = {
        let mut epk = first.clone();
        epk["y"] = epk["x"].clone();
        epk
    };
    let p384 = json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"});
    let ecdh = "ECDH-ES+A256KW";
    let found = |recipients: &[(&str, &Value)]| {
        UnlabelledWrap::from_jwe(general(recipients).as_bytes()).map(|wraps| wraps.len())
    };
    let none = Err(error(ErrorId::JweAlgUnsupported, Culprit::Encryptor));
    let bad = Err(error(ErrorId::PointInvalid, Culprit::Presenter));
    for (recipients, expected) in [
        (&[(ecdh, &first), (ecdh, &second)][..], Ok(2)),
        (&[("RSA-OAEP", &first), (ecdh, &second)], Ok(1)),
        (&[(ecdh, &off_curve), (ecdh, &second)], Ok(1)),
        (&[(ecdh, &off_curve), ("RSA-OAEP", &first)], bad),
        (&[("RSA-OAEP", &first)], none.clone()),
        (&[("ECDH-ES+A128KW", &first)], none),
    ] {
        assert_eq!(found(recipients), expected, "{recipients:?}");
    }
    assert_eq!(
        found(&[(ecdh, &p384)]).unwrap_err().culprit,
        Culprit::Presenter
    );
    assert_eq!(
        UnlabelledWrap::from_jwe(b"{}").unwrap_err(),
        error(ErrorId::JweOpenFailed, Culprit::Encryptor)
    );
}

#[test]
fn a_holder_reads_the_compressed_form_only() {
    let stock = Stock::new(&[]);
    let r1 = stock.wrap.r1();
    assert_eq!(UnlabelledWrap::from_epk(&r1), Ok(stock.wrap));
    let mut uncompressed = vec![4];
    for name in ["x", "y"] {
        let coordinate = stock.epk()[name].as_str().unwrap().to_owned();
        uncompressed.extend(URL_SAFE_NO_PAD.decode(coordinate).unwrap());
    }
    for wrong in [&uncompressed[..], &r1[..32], &[0], &[]] {
        assert_eq!(
            UnlabelledWrap::from_epk(wrong),
            Err(error(ErrorId::PointInvalid, Culprit::Presenter))
        );
    }
}

/// A 2-of-3 key and what a stock tool encrypted to it.
struct Stock {
    key: GroupKey,
    shares: BTreeMap<HolderId, Share>,
    jwe: Vec<u8>,
    wrap: UnlabelledWrap,
}

impl Stock {
    fn new(unproven: &[u8]) -> Self {
        let holders: BTreeSet<_> = (1..=3).map(holder).collect();
        let dealt = deal(2, &holders, &rng()).unwrap();
        let entries = holders.iter().map(|&index| HolderEntry {
            index,
            id: "holder".into(),
            jurisdiction: "EU".into(),
            public_share: public_share(&dealt.commitments, index).ok(),
            proof: if unproven.contains(&index.get()) {
                ProofKind::Unproven
            } else {
                ProofKind::Dleq
            },
            kem_public_key: None,
        });
        let key = GroupKey::from_parts(DescriptorParts {
            key_id: "k-stock".into(),
            epoch: 1,
            generation: 1,
            public_key: Some(dealt.commitments[0]),
            unbound: true,
            holders: entries.collect(),
            parts: vec![Part {
                t: 2,
                holders: holders.into_iter().collect(),
                commitments: dealt.commitments,
            }],
        })
        .unwrap();
        let public = keys::parse_public(key.public_key_pem().unwrap().as_bytes()).unwrap();
        let secret = LayerSecret::new(SECRET.to_vec().into());
        let jwe = public[0]
            .wrap_key(&secret, &WrapContext::default())
            .unwrap();
        let [wrap] = UnlabelledWrap::from_jwe(&jwe.element).unwrap()[..] else {
            panic!("one recipient");
        };
        Self {
            key,
            shares: dealt.shares,
            jwe: jwe.element,
            wrap,
        }
    }

    fn partial(&self, index: u8) -> PartialDecryption {
        self.partial_with(index, index)
    }

    /// The answer of one holder, made with the share of another.
    fn partial_with(&self, index: u8, share: u8) -> PartialDecryption {
        let octets = *self.shares[&holder(share)].expose();
        Share::from_octets(holder(index), 1, octets.into())
            .unwrap()
            .partial_unlabelled(&self.key, &self.wrap, &REQUEST, &rng())
            .unwrap()
    }

    fn combine(&self, partials: &[PartialDecryption]) -> Result<Combined, CombineError> {
        combine_unlabelled(&self.key, &self.wrap, &self.jwe, &REQUEST, partials)
    }

    fn epk(&self) -> Value {
        let jwe: Value = serde_json::from_slice(&self.jwe).unwrap();
        let header = URL_SAFE_NO_PAD.decode(jwe["protected"].as_str().unwrap());
        let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
        header["epk"].clone()
    }
}

/// A general JWE of which only the headers matter.
fn general(recipients: &[(&str, &Value)]) -> String {
    let recipients: Vec<_> = recipients
        .iter()
        .map(|(alg, epk)| {
            let key = URL_SAFE_NO_PAD.encode([0; 40]);
            json!({"header": {"alg": alg, "epk": epk}, "encrypted_key": key})
        })
        .collect();
    json!({
        "protected": URL_SAFE_NO_PAD.encode(r#"{"enc":"A256GCM"}"#),
        "recipients": recipients,
        "iv": URL_SAFE_NO_PAD.encode([0; 12]),
        "ciphertext": URL_SAFE_NO_PAD.encode([0; 1]),
        "tag": URL_SAFE_NO_PAD.encode([0; 16]),
    })
    .to_string()
}

fn holder(index: u8) -> HolderId {
    HolderId::new(index).unwrap()
}

fn error(id: ErrorId, culprit: Culprit) -> ThresholdError {
    ThresholdError { id, culprit }
}

fn rng() -> SystemRandom {
    SystemRandom::new()
}
