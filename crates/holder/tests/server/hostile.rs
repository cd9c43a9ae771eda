//! Bad input over the network: wraps and points that are not what they should be, and requests that were seen before.
//!
//! Each is told what is wrong with it, is on record as refused, and disturbs nobody.

use http::StatusCode;
use sealift_holder::keys::SigningKey;
use sealift_holder::server::{Running, audit};
use sealift_holder::statement::KeyRequest;
use sealift_holder::wire::{Code, ErrorBody, PartialsRequest, WireWrap};
use sealift_threshold::{GroupKey, ReplyKem, ReplyKey, UnlabelledWrap, Wrap};

use crate::rig::{NOW, Rig, nonce, rng};

struct Site {
    rig: Rig,
    group: GroupKey,
    running: Running,
    client: reqwest::Client,
}

impl Site {
    async fn new(unbound: bool) -> Self {
        let rig = Rig::new(1, 1);
        let group = rig.deal("default", unbound);
        let running = rig.start(0, &group).await;
        let client = rig.node_http(0);
        Self {
            rig,
            group,
            running,
            client,
        }
    }

    fn wrap(&self) -> Wrap {
        let label = self.rig.label(&self.group);
        self.group.wrap(&label, b"key", &rng()).unwrap()
    }

    fn request(&self, digest: &[u8; 32]) -> KeyRequest {
        KeyRequest {
            key_id: "default".to_owned(),
            epoch: 1,
            wraps: vec![digest.as_slice().into()],
            wrap_commitments: Vec::new(),
            ephemeral_key: ReplyKey::generate(ReplyKem::P256, &rng())
                .unwrap()
                .public()
                .into(),
            kem: 0x10,
            nonce: nonce(),
            lease_seconds: 60,
            justification: String::new(),
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), (u16, Code)> {
        let url = self.rig.url(0, "/v1/keys/default/partials");
        let answer = self.client.post(url).body(body).send().await.unwrap();
        let status = answer.status();
        let body = answer.bytes().await.unwrap();
        if status == StatusCode::OK {
            return Ok(());
        }
        let error: ErrorBody = serde_json::from_slice(&body).unwrap();
        Err((status.as_u16(), error.code))
    }

    async fn ask(&self, body: &PartialsRequest) -> Result<(), (u16, Code)> {
        self.post(serde_json::to_vec(body).unwrap()).await
    }

    fn rows(&self, event: &str) -> usize {
        let rows = audit::rows(&*self.running.service().store, 0, usize::MAX).unwrap();
        rows.iter().filter(|row| row.event == event).count()
    }
}

/// The base point of P-384, compressed.
const OTHER_CURVE: &str = "03aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7";

#[tokio::test(flavor = "multi_thread")]
async fn wraps_that_are_not_what_they_claim_are_refused() {
    let site = Site::new(false).await;
    let good = site.wrap().as_bytes().to_vec();
    let others: Vec<Vec<u8>> = (0..64).map(|_| site.wrap().as_bytes().to_vec()).collect();
    let other = &others[0];
    // What differs first among many wraps under one label is the sign of the point, its first octet.
    let point = (0..good.len())
        .find(|at| others.iter().any(|other| good[*at] != other[*at]))
        .unwrap();
    let with_point = |octets: &[u8]| {
        let mut wrap = good.clone();
        wrap[point..point + octets.len()].copy_from_slice(octets);
        wrap
    };
    let relabelled = {
        let text = b"registry.example/app";
        let at = good
            .windows(text.len())
            .position(|window| window == text)
            .unwrap();
        let mut wrap = good.clone();
        wrap[at..at + 3].copy_from_slice(b"rig");
        wrap
    };
    let bad_request = (400, Code::BadRequest);
    let false_proof = (422, Code::ProofInvalid);
    let cases = [
        ("identity", with_point(&[0; 33]), bad_request),
        ("not on the curve", with_point(&[0xff; 33]), bad_request),
        // Cut to the length of ours it happens to be the abscissa of a point here; the proof is not about that point.
        (
            "another curve",
            with_point(&hex::decode(OTHER_CURVE).unwrap()[..33]),
            false_proof,
        ),
        (
            "re-randomised",
            with_point(&other[point..point + 33]),
            false_proof,
        ),
        ("relabelled", relabelled, false_proof),
        ("cut", good[..good.len() - 1].to_vec(), bad_request),
        ("longer", [&good[..], &[0]].concat(), bad_request),
        ("nothing", Vec::new(), bad_request),
        ("noise", vec![0xff; 300], bad_request),
    ];
    for (at, (name, octets, expected)) in (1..).zip(cases) {
        let digest = Wrap::parse(&octets).map_or([1; 32], |wrap| wrap.digest());
        let wraps = vec![WireWrap::Compact(octets.into())];
        let body = site.rig.body(&site.request(&digest), wraps);
        assert_eq!(site.ask(&body).await, Err(expected), "{name}");
        assert_eq!(site.rows("refusal"), at, "{name}");
    }
    assert_eq!(site.rows("release"), 0);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn points_that_are_none_are_refused() {
    let site = Site::new(true).await;
    let key = SigningKey::generate().unwrap();
    let uncompressed = key.spki()[26..].to_vec();
    let good = [&[2 + (uncompressed[64] & 1)], &uncompressed[1..33]].concat();
    let ask = async |epk: &[u8]| {
        let digest = UnlabelledWrap::from_epk(epk).map_or([1; 32], |wrap| wrap.digest(&site.group));
        let wraps = vec![WireWrap::Unlabelled { epk: epk.into() }];
        site.ask(&site.rig.body(&site.request(&digest), wraps))
            .await
    };
    let mut no_curve = good.clone();
    no_curve[1..].fill(0xff);
    for epk in [
        vec![0],
        vec![0; 33],
        no_curve,
        hex::decode(OTHER_CURVE).unwrap(),
        good[..32].to_vec(),
        Vec::new(),
    ] {
        let refused = ask(&epk).await;
        assert_eq!(
            refused,
            Err((400, Code::BadRequest)),
            "{}",
            hex::encode(&epk)
        );
    }
    assert_eq!(site.rows("release"), 0);
    assert_eq!(ask(&good).await, Ok(()));
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_answered_is_answered_again_within_its_lease_only() {
    let site = Site::new(false).await;
    let wrap = site.wrap();
    let wraps = || vec![WireWrap::Compact(wrap.as_bytes().into())];
    let request = site.request(&wrap.digest());
    let body = site.rig.body(&request, wraps());
    for (now, expected) in [
        (NOW, Ok(())),
        (NOW + 60_000, Ok(())),
        (NOW + 60_001, Err((409, Code::ReplayDetected))),
    ] {
        site.rig.clock.set(now);
        assert_eq!(site.ask(&body).await, expected, "{now}");
    }
    // The same request signed anew is a new one; its nonce alone makes nothing stale, its time does.
    let key = &site.rig.node.key;
    site.rig.clock.set(NOW);
    for (issued_at, expected) in [
        (NOW - 300_000, Ok(())),
        (NOW - 300_001, Err((409, Code::ReplayDetected))),
        (NOW + 300_001, Err((409, Code::ReplayDetected))),
    ] {
        let mut body = site.rig.body_by(&request, wraps(), key, issued_at);
        body.evidence = site.rig.body(&request, wraps()).evidence;
        assert_eq!(site.ask(&body).await, expected, "{issued_at}");
    }
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused() {
    let site = Site::new(false).await;
    let wrap = site.wrap();
    let wraps = || vec![WireWrap::Compact(wrap.as_bytes().into())];
    let request = site.request(&wrap.digest());
    let good = site.rig.body(&request, wraps());
    let bad_request = Err((400, Code::BadRequest));
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        &serde_json::to_vec(&good).unwrap()[1..],
    ] {
        assert_eq!(site.post(body.to_vec()).await, bad_request, "{body:?}");
    }
    // Somebody else's signature; a nonce of the wrong length; one wrap too many; another wrap than is committed to.
    let stranger = SigningKey::generate().unwrap();
    let foreign = site.rig.body_by(&request, wraps(), &stranger, NOW);
    assert_eq!(site.ask(&foreign).await, Err((422, Code::ProofInvalid)));
    let mut short = request.clone();
    short.nonce = vec![0; 31].into();
    let short = site.rig.body(&short, wraps());
    assert_eq!(site.ask(&short).await, bad_request);
    let mut more = good.clone();
    more.wraps.extend(wraps());
    assert_eq!(site.ask(&more).await, Err((422, Code::LabelMismatch)));
    let mut other = good.clone();
    other.wraps = vec![WireWrap::Compact(site.wrap().as_bytes().into())];
    assert_eq!(site.ask(&other).await, Err((422, Code::LabelMismatch)));
    assert_eq!(site.rows("release"), 0);
    assert_eq!(site.ask(&good).await, Ok(()));
    site.running.shutdown().await;
}
