//! Registrations: what says nothing of its repository is decided by the one that a person tied it to.

use sealift_holder::command::Order;
use sealift_holder::keys::SigningKey;
use sealift_holder::server::state::Applied;
use sealift_holder::server::{Running, Server, audit};
use sealift_holder::wire::{
    Code, CommandsRequest, ErrorBody, PartialsAnswer, RegistrationAnswer, RegistrationRequest,
    WireWrap,
};
use sealift_holder::{Octets, statement::KeyRequest};
use sealift_threshold::{GroupKey, ReplyKem, ReplyKey, UnlabelledWrap};
use serde_json::{Value, json};

use crate::rig::{Person, Rig, nonce, rng};

const SECRET: &str = "registry.example/secret/app";
const PATH: &str = "/v1/keys/default/registrations";

struct Site {
    rig: Rig,
    group: GroupKey,
    carol: Person,
    epk: Vec<u8>,
    running: Running,
}

impl Site {
    /// An unbound key, somebody who may use wraps, and a repository that demands more than the node has.
    async fn new() -> Self {
        let rig = Rig::new(3, 2);
        let group = rig.deal("default", true);
        let running = rig.start(0, &group).await;
        let carol = Person {
            name: "carol",
            key: SigningKey::generate().unwrap(),
        };
        let mut policy: Value = serde_json::from_slice(&rig.policy().0).unwrap();
        policy["settings"]["min_score"]["repositories"] = json!({"registry.example/secret": 100});
        let set = serde_json::to_vec(&policy).unwrap().into();
        let spki = carol.key.spki().into();
        let role = Some("CryptoUser".to_owned());
        for (subject, version, order) in [
            ("policy", 2, Order::Policy { set }),
            ("operator:carol", 1, Order::Role { spki, role }),
        ] {
            let envelope = rig.command(subject, version, order);
            let applied = rig.apply(&running.service().writer, &envelope, 0).await;
            assert_eq!(applied, Ok(Applied::Applied { instead_of: None }));
        }
        let epk = epk();
        Self {
            rig,
            group,
            carol,
            epk,
            running,
        }
    }

    async fn post(&self, by: &Person, path: &str, body: &impl serde::Serialize) -> (u16, Vec<u8>) {
        let request = self.rig.operator_http(0, by).post(self.rig.url(0, path));
        let request = request
            .header("content-type", "application/json")
            .body(serde_json::to_vec(body).unwrap());
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.bytes().await.unwrap().to_vec(),
        )
    }

    async fn register(&self, by: &Person, path: &str, repo: &str) -> Result<usize, Code> {
        let body = RegistrationRequest {
            epoch: 1,
            repo: repo.to_owned(),
            epks: vec![self.epk.clone().into()],
        };
        refused(self.post(by, path, &body).await).map(|octets| {
            let answer: RegistrationAnswer = serde_json::from_slice(&octets).unwrap();
            assert_eq!(answer.repo, repo);
            answer.wrap_digests.len()
        })
    }

    /// The node asks for the wrap.
    async fn open(&self) -> Result<(), Code> {
        let digest = UnlabelledWrap::from_epk(&self.epk)
            .unwrap()
            .digest(&self.group);
        let request = KeyRequest {
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
        };
        let epk = self.epk.clone().into();
        let body = self.rig.body(&request, vec![WireWrap::Unlabelled { epk }]);
        let request = self.rig.node_http(0);
        let request = request.post(self.rig.url(0, "/v1/keys/default/partials"));
        let answer = request
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&body).unwrap())
            .send()
            .await
            .unwrap();
        let (status, octets) = (answer.status().as_u16(), answer.bytes().await.unwrap());
        refused((status, octets.to_vec())).map(|octets| {
            let answer: PartialsAnswer = serde_json::from_slice(&octets).unwrap();
            assert_eq!(answer.answers.len(), 1);
        })
    }
}

fn epk() -> Vec<u8> {
    let key = SigningKey::generate().unwrap();
    let point = &key.spki()[26..];
    [&[2 + (point[64] & 1)], &point[1..33]].concat()
}

fn refused((status, octets): (u16, Vec<u8>)) -> Result<Vec<u8>, Code> {
    if status < 300 {
        return Ok(octets);
    }
    let error: ErrorBody = serde_json::from_slice(&octets).unwrap();
    assert_eq!(status, error.code.status());
    Err(error.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_wrap_is_released_by_what_policy_says_of_its_repository() {
    let site = Site::new().await;
    assert_eq!(site.open().await, Ok(()));
    assert_eq!(site.register(&site.carol, PATH, SECRET).await, Ok(1));
    assert_eq!(site.open().await, Err(Code::Forbidden));
    // Again is no matter; elsewhere is no way out.
    assert_eq!(site.register(&site.carol, PATH, SECRET).await, Ok(1));
    let elsewhere = site
        .register(&site.carol, PATH, "registry.example/app")
        .await;
    assert_eq!(elsewhere, Err(Code::AlreadyRegistered));
    let rows = audit::rows(&*site.running.service().store, 0, usize::MAX).unwrap();
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.event == "registration")
        .collect();
    let decisions: Vec<&str> = rows.iter().map(|row| row.decision.as_str()).collect();
    assert_eq!(decisions, ["allow", "allow", "deny"]);
    assert_eq!(rows[0].detail["repo"], SECRET);
    // It is there after a restart.
    let Site {
        rig,
        group,
        carol,
        epk,
        running,
    } = site;
    running.shutdown().await;
    let running = Server::start(rig.config(0, rig.open_store(0)))
        .await
        .unwrap();
    let site = Site {
        rig,
        group,
        carol,
        epk,
        running,
    };
    assert_eq!(site.open().await, Err(Code::Forbidden));
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_use_wraps_registers_one_and_only_where_it_can_be_opened() {
    let site = Site::new().await;
    let (rig, carol) = (&site.rig, &site.carol);
    assert_eq!(
        site.register(&rig.alice, PATH, SECRET).await,
        Err(Code::Forbidden)
    );
    for repo in ["", "registry.example/App", "registry.example//app"] {
        assert_eq!(
            site.register(carol, PATH, repo).await,
            Err(Code::BadRequest),
            "{repo}"
        );
    }
    for epks in [
        vec![],
        vec![Octets(vec![0; 33])],
        vec![site.epk.clone().into(); 129],
    ] {
        let body = RegistrationRequest {
            epoch: 1,
            repo: SECRET.to_owned(),
            epks,
        };
        let result = refused(site.post(carol, PATH, &body).await);
        assert_eq!(result.unwrap_err(), Code::BadRequest);
    }
    let unknown = site
        .register(carol, "/v1/keys/none/registrations", SECRET)
        .await;
    assert_eq!(unknown, Err(Code::KeyNotFound));
    let labelled = rig.deal("labelled", false);
    for order in [Order::CreateKey(rig.plan(false)), rig.descriptor(&labelled)] {
        let envelope = rig.command("key:labelled", 1, order);
        let applied = rig.apply(&site.running.service().writer, &envelope, 0);
        assert_eq!(applied.await, Ok(Applied::Applied { instead_of: None }));
    }
    let bound = site
        .register(carol, "/v1/keys/labelled/registrations", SECRET)
        .await;
    assert_eq!(bound, Err(Code::LabelMismatch));
    let disable = rig.command("key:default", 1, Order::DisableKey {});
    rig.apply(&site.running.service().writer, &disable, 0)
        .await
        .unwrap();
    assert_eq!(
        site.register(carol, PATH, SECRET).await,
        Err(Code::KeyDisabled)
    );
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_begun_at_their_own_path_by_the_commands_that_begin_them() {
    let site = Site::new().await;
    let (rig, carol) = (&site.rig, &site.carol);
    let body = |subject: &str, order| CommandsRequest {
        commands: vec![rig.command(subject, 1, order)],
    };
    let create = body("key:new", Order::CreateKey(rig.plan(false)));
    let (status, _) = site.post(carol, "/v1/keys", &create).await;
    assert_eq!(status, 403);
    assert!(
        !site
            .running
            .service()
            .writer
            .state()
            .keys()
            .contains_key("new")
    );
    // Its peers are not there.
    let (status, _) = site.post(&rig.alice, "/v1/keys", &create).await;
    assert_eq!(status, 202);
    let import = body("key:brought", Order::ImportKey(rig.plan(false)));
    assert_eq!(site.post(&rig.alice, "/v1/keys", &import).await.0, 202);
    let state = site.running.service().writer.state();
    assert!(state.keys().contains_key("new") && state.keys().contains_key("brought"));
    for other in [
        body("node:tokyo-7", Order::RevokeNode {}),
        CommandsRequest {
            commands: Vec::new(),
        },
    ] {
        assert_eq!(site.post(&rig.alice, "/v1/keys", &other).await.0, 400);
    }
    assert!(!site.running.service().writer.state().is_revoked("tokyo-7"));
    site.running.shutdown().await;
}
