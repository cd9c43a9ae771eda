//! Which files say where images are.

use std::fs;

use sealift_testkit::image::{Format, Packing};
use sealift_testkit::registry::{Effect, Fault, Operation, Options, Registry, RunningRegistry};

use crate::tool::{Lab, Run, image, lab_with_sealed};

fn serve(repository: &str) -> RunningRegistry {
    let registry = Registry::start(Options::default());
    image(Format::Oci, Packing::Gzip).push(&registry, repository, "v1");
    registry
}

#[test]
fn mirrors_come_from_options_variables_and_the_usual_files() {
    let (origin, mirror) = (serve("team/app"), serve("hub/team/app"));
    let lab = Lab::new();
    let source = format!("{}/team/app:v1", origin.host());
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}/hub\"\n",
        origin.host(),
        mirror.host()
    );
    lab.write("mirrors.conf", conf.as_bytes());
    lab.write("empty.conf", b"");
    let inspect = |arguments: &[&str], variables: &[(&str, &str)]| {
        origin.clear_log();
        let mut line = vec!["inspect", "-v", &source];
        line.extend(arguments);
        let run = Run::of(lab.command(&line).envs(variables.iter().copied()));
        let told = run.stderr.clone();
        run.succeeds();
        let from_mirror = origin.log().is_empty();
        let detail = format!("detail: manifest `v1` comes from mirror {}", mirror.host());
        assert_eq!(told.contains(&detail), from_mirror, "{told}");
        from_mirror
    };
    assert!(!inspect(&[], &[]));
    assert!(inspect(&["--registries-conf", "mirrors.conf"], &[]));
    assert!(inspect(&[], &[("SEALIFT_REGISTRIES_CONF", "mirrors.conf")]));
    let foreign = ("CONTAINERS_REGISTRIES_CONF", "mirrors.conf");
    assert!(inspect(&[], &[foreign]));
    assert!(!inspect(&["--registries-conf", "empty.conf"], &[foreign]));

    let own = lab.path(".config/containers/registries.conf.d");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("mirrors.conf"), &conf).unwrap();
    assert!(inspect(&[], &[]));
    // A later drop-in has the last word, and files of other kinds have none.
    let alone = format!("[[registry]]\nlocation = \"{}\"\n", origin.host());
    fs::write(own.join("zz.conf"), &alone).unwrap();
    fs::write(own.join("zzz.conf.bak"), "broken").unwrap();
    assert!(!inspect(&[], &[]));

    let hosts = lab.path("hosts").join(mirror.host());
    fs::create_dir_all(&hosts).unwrap();
    assert!(!inspect(&["--hosts-dir", "hosts"], &[]));
}

#[test]
fn files_that_cannot_be_used_stop_the_work() {
    let origin = serve("team/app");
    let lab = Lab::new();
    let source = format!("{}/team/app:v1", origin.host());
    lab.write("old.conf", b"[registries.search]\nregistries = []\n");
    lab.sealift(&["inspect", &source, "--registries-conf", "old.conf"])
        .fails(2, "cannot use `old.conf`");
    lab.sealift(&["inspect", &source, "--registries-conf", "absent.conf"])
        .fails(7, "cannot read `absent.conf`");
    lab.sealift(&["inspect", &source, "--certs-dir", "absent"])
        .fails(7, "`absent` is not a folder");
    let blocked = format!(
        "[[registry]]\nlocation = \"{}\"\nblocked = true\n",
        origin.host()
    );
    lab.write("blocked.conf", blocked.as_bytes());
    let run = lab.sealift(&["inspect", &source, "--registries-conf", "blocked.conf"]);
    assert!(
        run.stderr.contains("is blocked in registries.conf"),
        "{}",
        run.stderr
    );
    assert_ne!(run.code, 0);
    assert_eq!(origin.count(Operation::GetManifest), 0);
}

/// Whatever is done with a layer, and wherever the damage shows first: as a wrong digest, as a layer that does not open, as
/// gzip that is none.
#[test]
fn damage_by_a_mirror_stops_no_work() {
    let (lab, _) = lab_with_sealed();
    let origin = Registry::start(Options::default());
    let mirror = Registry::start(Options::default());
    for (registry, repository) in [(&origin, "team"), (&mirror, "hub/team")] {
        for name in ["plain", "sealed"] {
            let from = format!("oci:{name}:v1");
            let to = format!("{}/{repository}/{name}:v1", registry.host());
            lab.sealift(&["copy", "-q", &from, &to]).succeeds();
        }
    }
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}/hub\"\n",
        origin.host(),
        mirror.host()
    );
    lab.write("mirrors.conf", conf.as_bytes());
    let place = |name: &str| format!("{}/team/{name}:v1", origin.host());
    let (plain, sealed) = (place("plain"), place("sealed"));
    for (line, moved) in [
        (vec!["copy", &plain, "oci:copied:v1"], &plain),
        (
            vec!["encrypt", &plain, "oci:resealed:v1", "-r", "key.pub.pem"],
            &plain,
        ),
        (
            vec!["decrypt", &sealed, "oci:opened:v1", "-k", "key.pem"],
            &sealed,
        ),
        (vec!["verify", &plain], &plain),
        (vec!["verify", &sealed, "-k", "key.pem"], &sealed),
    ] {
        for at in [20, 90] {
            for written in ["copied", "resealed", "opened"] {
                drop(fs::remove_dir_all(lab.path(written)));
            }
            mirror.clear_faults();
            mirror.clear_log();
            origin.clear_log();
            let damage = Fault::on(Operation::GetBlob, Effect::FlipBit(at));
            mirror.set_fault(damage.always());
            let mut line = line.clone();
            line.extend(["-v", "--registries-conf", "mirrors.conf"]);
            let run = lab.sealift(&line);
            let told = run.stderr.clone();
            run.succeeds();
            assert!(told.contains(" was passed over: blob `sha256:"), "{told}");
            // Three layers and a configuration, each first from the mirror.
            let blobs = |registry: &RunningRegistry| registry.count(Operation::GetBlob);
            assert!(blobs(&mirror) >= 4, "{moved} {told}");
            assert!(blobs(&origin) >= 4, "{moved} {told}");
        }
    }
}
