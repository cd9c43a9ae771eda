//! Configurations of key providers: every name in an accepted one can be asked for, and in clear nothing leads off this machine.
// libfuzzer: -max_len=8192
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_provider::{Config, ProviderName, Transport};

fuzz_target!(|octets: &[u8]| {
    let Ok(config) = Config::parse(octets) else {
        return;
    };
    assert!(config.names().count() <= Config::MAX_PROVIDERS);
    for name in config.names() {
        let Ok(name) = ProviderName::parse(name) else {
            continue;
        };
        match config.transport(&name) {
            Ok(Transport::Command(command)) => assert!(!command.path.is_empty()),
            Ok(Transport::Grpc(target)) => {
                assert!(!target.to_string().chars().any(char::is_control));
                assert!(target.has_tls() || target.is_local());
            }
            Ok(_) => unreachable!(),
            Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
        }
    }
});
