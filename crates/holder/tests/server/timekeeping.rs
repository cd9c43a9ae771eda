//! A holder whose clock nobody confirms.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;

use sealift_holder::server::Server;
use sealift_holder::server::release::release;
use sealift_holder::wire::Code;

use crate::rig::{Rig, rng};

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_clock_nobody_confirms_releases_nothing() {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = rig.config(0, rig.open_store(0));
    config.ntp = vec![silent.local_addr().unwrap().to_string()];
    let running = Server::start(config).await.unwrap();
    rig.found(&running, &group).await;
    let wrap = group
        .wrap(&rig.label(&group), b"the key of one layer", &rng())
        .unwrap();
    let (body, _) = rig.ask(&group, &[&wrap]);
    let service = Arc::clone(running.service());
    let caller = rig.caller();
    let refused = tokio::task::spawn_blocking(move || {
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        release(&service, &caller, source, "default", &body).map(|_| ())
    });
    let refused = refused.await.unwrap().unwrap_err();
    assert_eq!(refused.code, Code::PolicyStale);
    let rows = running.service().store.audit(0, 100).unwrap();
    let refusal = rows.iter().find(|row| row.contains("refusal")).unwrap();
    assert!(refusal.contains("NTP"), "{refusal}");
    running.shutdown().await;
}
