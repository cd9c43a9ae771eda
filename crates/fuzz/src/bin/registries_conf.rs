//! Wherever an accepted file sends an image, its tag and digest go along, and it is never sent to a mirror alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_oci::Reference;
use sealift_registry::RegistriesConf;

fuzz_target!(|text: &str| {
    let Ok(conf) = RegistriesConf::parse(text) else {
        return;
    };
    for name in ["debian:12", "r.example/team/app:1", "127.0.0.1:5000/a"] {
        let Ok(reference) = name.parse::<Reference>() else {
            continue;
        };
        let Ok(Some(found)) = conf.locate(&reference) else {
            continue;
        };
        for place in found.mirrors.iter().chain([&found.origin]) {
            assert_eq!(place.reference.tag(), reference.tag());
            assert_eq!(place.reference.digest(), reference.digest());
        }
        let again = conf.clone().overridden_by(conf.clone());
        assert_eq!(again.locate(&reference).is_ok(), conf.locate(&reference).is_ok());
    }
});
