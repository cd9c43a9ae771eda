//! Logging in: passwords, tokens, and what goes wrong with them.

use std::time::Duration;

use sealift_registry::Transport;
use sealift_testkit::registry::{
    Auth, Bearer, Effect, Fault, Operation, Options as Serving, Registry, RunningRegistry,
};

use crate::lab::{source, told, transport};
use crate::pull::{image, reference, serving, with_login, with_password};

#[test]
fn basic_credentials_are_sent_once_they_are_asked_for() {
    let registry = serving(Serving {
        auth: Auth::Basic {
            user: "me".into(),
            password: "p:w".into(),
        },
        ..Serving::default()
    });
    let transport = Transport::new(with_login("me", "p:w")).unwrap();
    let source_of = |transport: &Transport| source(transport, &reference(&registry)).root();
    assert_eq!(source_of(&transport).unwrap().bytes, image().bytes());
    assert_eq!(source_of(&transport).unwrap().bytes, image().bytes());
    let lines: Vec<_> = registry
        .log()
        .iter()
        .map(|entry| entry.status.unwrap())
        .collect();
    assert_eq!(lines, [401, 200, 200]);
    let wrong = Transport::new(with_login("me", "other")).unwrap();
    assert_eq!(
        told(&source_of(&wrong).unwrap_err(), &registry.host()),
        "GET HOST/v2/demo/app/manifests/v1 needs credentials: user `me` from the given credentials did not suffice: \
         UNAUTHORIZED: unauthorized"
    );
    let nobody = crate::lab::transport();
    assert_eq!(
        told(&source_of(&nobody).unwrap_err(), &registry.host()),
        "HOST/demo/app needs credentials: no credentials for HOST were found"
    );
}

fn bearer(bearer: Bearer) -> RunningRegistry {
    serving(Serving {
        auth: Auth::Bearer(bearer),
        ..Serving::default()
    })
}

#[test]
fn tokens_are_fetched_once_and_kept() {
    let registry = bearer(Bearer {
        credentials: Some(("me".into(), "pw".into())),
        ..Bearer::default()
    });
    let transport = Transport::new(with_login("me", "pw")).unwrap();
    let source = source(&transport, &reference(&registry));
    for _ in 0..3 {
        assert_eq!(source.root().unwrap().bytes, image().bytes());
    }
    assert_eq!(registry.count(Operation::Token), 1);
    assert_eq!(registry.count(Operation::GetManifest), 4);
}

#[test]
fn many_threads_share_one_token() {
    let registry = bearer(Bearer::default());
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| source.root().unwrap());
        }
    });
    assert_eq!(registry.count(Operation::Token), 1);
}

#[test]
fn a_token_that_dies_is_replaced_once() {
    let registry = bearer(Bearer {
        uses: 1,
        ..Bearer::default()
    });
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    for _ in 0..3 {
        assert_eq!(source.root().unwrap().bytes, image().bytes());
    }
    assert_eq!(registry.count(Operation::Token), 3);
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let registry = bearer(Bearer {
        expires_in: Some(1),
        ..Bearer::default()
    });
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    source.root().unwrap();
    std::thread::sleep(Duration::from_millis(900));
    source.root().unwrap();
    assert_eq!(registry.count(Operation::Token), 2);
    // One refusal at the very beginning, none for an old token.
    assert_eq!(
        registry
            .log()
            .iter()
            .filter(|entry| entry.status == Some(401))
            .count(),
        1
    );
}

#[test]
fn an_identity_token_is_exchanged() {
    let registry = bearer(Bearer {
        refresh_token: Some("R".into()),
        ..Bearer::default()
    });
    let transport = Transport::new(with_login("<token>", "R")).unwrap();
    assert_eq!(
        source(&transport, &reference(&registry))
            .root()
            .unwrap()
            .bytes,
        image().bytes()
    );
    let log = registry.log();
    let token = log
        .iter()
        .find(|entry| entry.operation == Operation::Token)
        .unwrap();
    assert_eq!((token.method.as_str(), token.query.as_str()), ("POST", ""));
}

#[test]
fn a_refused_token_names_the_login_not_the_secret() {
    let registry = bearer(Bearer {
        credentials: Some(("me".into(), "pw".into())),
        ..Bearer::default()
    });
    let transport = Transport::new(with_login("me", "wrong-secret")).unwrap();
    let error = source(&transport, &reference(&registry))
        .root()
        .unwrap_err();
    assert_eq!(
        told(&error, &registry.host()),
        "HOST/demo/app needs credentials: GET HOST/token: the registry answered 401: UNAUTHORIZED: unauthorized"
    );
}

#[test]
fn credentials_do_not_go_to_a_realm_without_https() {
    let registry = bearer(Bearer {
        realm: Some("http://registry.example/token?x=secret".into()),
        ..Bearer::default()
    });
    let transport = Transport::new(with_login("me", "pw")).unwrap();
    let error = source(&transport, &reference(&registry))
        .root()
        .unwrap_err();
    assert_eq!(
        told(&error, &registry.host()),
        "realm `registry.example/token` of HOST is malformed: credentials are not sent there without https"
    );
}

#[test]
fn a_token_that_is_too_long_or_broken_is_refused() {
    for (effect, message) in [
        (Effect::Blanks(2 << 20), "it is too long"),
        (
            Effect::Body(b"{".to_vec()),
            "it is not JSON of the token protocol",
        ),
        (Effect::Body(b"{}".to_vec()), "there is none in the answer"),
    ] {
        let registry = bearer(Bearer::default());
        registry.set_fault(Fault::on(Operation::Token, effect));
        let transport = transport();
        let error = source(&transport, &reference(&registry))
            .root()
            .unwrap_err();
        assert_eq!(
            told(&error, &registry.host()),
            format!("token from HOST/token is malformed: {message}")
        );
    }
}

#[test]
fn a_busy_token_service_is_asked_again() {
    let registry = bearer(Bearer::default());
    registry.set_fault(Fault::on(Operation::Token, Effect::status(503)).times(2));
    let transport = transport();
    assert_eq!(
        source(&transport, &reference(&registry))
            .root()
            .unwrap()
            .bytes,
        image().bytes()
    );
    assert_eq!(registry.count(Operation::Token), 3);
}

#[test]
fn an_unknown_scheme_is_named() {
    let registry = serving(Serving::default());
    let refusal = Effect::Answer {
        status: 401,
        headers: vec![("WWW-Authenticate".into(), "Negotiate abc=".into())],
        body: Vec::new(),
    };
    registry.set_fault(Fault::new(refusal));
    let transport = transport();
    let error = source(&transport, &reference(&registry))
        .root()
        .unwrap_err();
    assert_eq!(
        told(&error, &registry.host()),
        "HOST wants to authenticate by `Negotiate`, which is not supported; Basic and Bearer are"
    );
}

#[test]
fn a_refresh_token_does_not_follow_a_redirect_to_another_host() {
    let elsewhere = Registry::start(Serving::default());
    let registry = bearer(Bearer {
        refresh_token: Some("R".into()),
        ..Bearer::default()
    });
    registry.set_fault(
        Fault::on(
            Operation::Token,
            Effect::Redirect(format!("{}/token", elsewhere.url())),
        )
        .always(),
    );
    let transport = Transport::new(with_login("<token>", "R")).unwrap();
    let error = source(&transport, &reference(&registry))
        .root()
        .unwrap_err();
    assert!(error.to_string().contains("redirect"), "{error}");
    assert!(elsewhere.log().is_empty());
}

#[test]
fn who_does_not_say_how_to_log_in_is_asked_at_its_root() {
    let registry = serving(with_password());
    let silent = Effect::DropHeader("WWW-Authenticate".into());
    registry.set_fault(Fault::on(Operation::GetManifest, silent.clone()));
    let transport = Transport::new(with_login("me", "pw")).unwrap();
    let root = source(&transport, &reference(&registry)).root().unwrap();
    assert_eq!(root.bytes, image().bytes());
    assert_eq!(registry.count(Operation::Ping), 1);
    // Nor there: then nobody can log in.
    registry.set_fault(Fault::new(silent).always());
    let other = Transport::new(with_login("me", "pw")).unwrap();
    let error = source(&other, &reference(&registry)).root().unwrap_err();
    assert_eq!(
        told(&error, &registry.host()),
        "HOST/v2/ needs credentials: the registry does not say how to log in"
    );
}

#[test]
fn a_root_that_leads_to_another_host_does_not_let_that_ask_for_the_login() {
    let elsewhere = bearer(Bearer {
        credentials: Some(("me".into(), "pw".into())),
        ..Bearer::default()
    });
    let registry = serving(with_password());
    let silent = Effect::DropHeader("WWW-Authenticate".into());
    registry.set_fault(Fault::on(Operation::GetManifest, silent).always());
    let there = Effect::Redirect(format!("{}/v2/", elsewhere.url()));
    registry.set_fault(Fault::on(Operation::Ping, there).always());
    let transport = Transport::new(with_login("me", "pw")).unwrap();
    let error = source(&transport, &reference(&registry))
        .root()
        .unwrap_err();
    assert!(
        matches!(error, sealift_registry::Error::Unauthorized { .. }),
        "{error}"
    );
    assert_eq!(elsewhere.count(Operation::Ping), 1);
    assert_eq!(elsewhere.count(Operation::Token), 0);
    assert!(elsewhere.log().iter().all(|entry| !entry.is_authorized()));
}
