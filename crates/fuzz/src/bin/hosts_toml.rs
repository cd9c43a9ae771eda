//! Every host of an accepted file has an address that is safe to send a request to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_registry::HostsToml;

fuzz_target!(|text: &str| {
    let Ok(file) = HostsToml::parse(text) else {
        return;
    };
    for host in file.hosts.iter().chain(&file.server) {
        assert!(matches!(host.root.scheme(), "http" | "https"));
        assert!(host.root.host_str().is_some_and(|name| !name.is_empty()));
        assert!(host.root.username().is_empty() && host.root.password().is_none());
        assert!(host.root.path().ends_with('/') && host.root.query().is_none());
    }
});
