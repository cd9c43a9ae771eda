//! Key holders at work: real holders as processes of their own, a node, its agent, and people.

use sealift_testkit::image::{Format, Packing};

use crate::deployment::Deployment;
use crate::tool::{Lab, image};

const REPO: &str = "registry.example/app";

/// Seals the image `oci:plain:v1` as `oci:NAME:v1` for a key.
#[track_caller]
fn seal(deployment: &Deployment<'_>, name: &str, key: &str) {
    let destination = format!("oci:{name}:v1");
    let recipient = format!("holders:{key}");
    let arguments = [
        "encrypt",
        "oci:plain:v1",
        &destination,
        "-r",
        &recipient,
        "--label-repo",
        REPO,
    ];
    deployment.as_node(&arguments).succeeds();
}

/// Opens `oci:NAME:v1` as the node and compares it with the original.
#[track_caller]
fn opens(deployment: &Deployment<'_>, name: &str, key: &str) {
    let (source, identity) = (format!("oci:{name}:v1"), format!("holders:{key}"));
    let destination = format!("oci:opened-{name}:v1");
    deployment
        .as_node(&["decrypt", &source, &destination, "-k", &identity])
        .succeeds();
    let lab = deployment.lab;
    let opened = lab.digest_in_layout(&format!("opened-{name}"), "v1");
    assert_eq!(opened, lab.digest_in_layout("plain", "v1"));
    std::fs::remove_dir_all(lab.path(&format!("opened-{name}"))).unwrap();
}

fn lab() -> Lab {
    let lab = Lab::new();
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    lab
}

#[test]
fn a_sealed_image_opens_until_the_node_is_revoked() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &["--unbound", "stock"]);
    // Without a repository nothing is sealed: the label would bind to nothing.
    let unlabelled = [
        "encrypt",
        "oci:plain:v1",
        "oci:x:v1",
        "-r",
        "holders:default",
    ];
    deployment
        .as_node(&unlabelled)
        .fails(2, "bound to a repository");
    seal(&deployment, "sealed", "default");
    opens(&deployment, "sealed", "default");
    seal(&deployment, "stock", "stock");
    opens(&deployment, "stock", "stock");
    // What a stock tool sealed gets a repository from somebody who may use it, at all holders, once.
    let carol = deployment.path("carol.pem");
    let register = |repo: &str| {
        let what = ["key", "register", "stock", "oci:stock:v1", "--json"];
        let who = ["--repo", repo, "--as", carol.to_str().unwrap()];
        deployment.as_node(&[&what[..], &who].concat())
    };
    let registered = register("registry.example/app").json();
    assert_eq!(registered["holders"].as_array().unwrap().len(), 3);
    assert_ne!(registered["wraps"].as_array().unwrap().len(), 0);
    assert_eq!(register("registry.example/app").json(), registered);
    assert_eq!(register("registry.example/other").code, 6);
    opens(&deployment, "stock", "stock");

    let revoked = deployment
        .as_admin(&["node", "revoke", "dev-1", "--reason", "stolen", "--json"])
        .json();
    assert_eq!(
        (&revoked["status"], &revoked["command"]["version"]),
        (&"EFFECTIVE".into(), &1.into())
    );
    assert_eq!(revoked["command"]["kind"], "revoke-node");
    let node = deployment
        .as_admin(&["node", "show", "dev-1", "--json"])
        .json();
    assert_eq!(
        (&node["state"], &node["access"]["reason"]),
        (&"revoked".into(), &"stolen".into())
    );
    let decrypt = [
        "decrypt",
        "oci:sealed:v1",
        "oci:stolen:v1",
        "-k",
        "holders:default",
    ];
    let denied = deployment.as_node(&decrypt);
    assert_eq!(denied.code, 6, "{}", denied.stderr);
    assert!(!lab.path("stolen/index.json").exists());

    let record = deployment
        .as_auditor(&["audit", "show", "--event", "refusal", "--json"])
        .json();
    let rows = record["rows"].as_array().unwrap();
    let why = |row: &serde_json::Value| {
        row["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("revoked")
    };
    assert!(
        rows.iter()
            .any(|row| row["actor"] == "node:dev-1" && why(row)),
        "{record}"
    );
    let heads = deployment.as_auditor(&["audit", "verify"]).succeeds();
    assert_eq!(heads.lines().count(), 3);

    // One person is not enough to take it back, two are.
    let alice = deployment.path("alice.pem");
    let unrevoke = [
        "node",
        "unrevoke",
        "dev-1",
        "--reason",
        "found",
        "--sign-with",
        alice.to_str().unwrap(),
    ];
    deployment
        .as_node(&unrevoke)
        .fails(2, "needs 2 administrators");
    deployment
        .as_admin(&["node", "unrevoke", "dev-1", "--reason", "found"])
        .succeeds();
    opens(&deployment, "sealed", "default");
    deployment.stop();
}

#[test]
fn nothing_is_lost_when_holders_are_killed() {
    let lab = lab();
    let mut deployment = Deployment::start(&lab, &[]);
    seal(&deployment, "sealed", "default");
    opens(&deployment, "sealed", "default");
    let heads = deployment.as_auditor(&["audit", "verify"]).succeeds();
    deployment.kill("gru");
    opens(&deployment, "sealed", "default");
    deployment
        .as_admin(&["holder", "status", "-q"])
        .exits_with(5, "gru");

    deployment.kill("nrt");
    let decrypt = [
        "decrypt",
        "oci:sealed:v1",
        "oci:none:v1",
        "-k",
        "holders:default",
    ];
    let alone = deployment.as_node(&decrypt);
    assert_eq!(alone.code, 5, "{}", alone.stderr);
    // One holder is not enough for a revocation to be in force, and the tool does not pretend.
    let pending = deployment.as_admin(&["node", "revoke", "dev-1", "--reason", "test"]);
    assert_eq!(pending.code, 6, "{}", pending.stderr);
    assert!(
        pending.stderr.contains("PENDING: 1 of 2"),
        "{}",
        pending.stderr
    );

    deployment.serve_again("gru");
    deployment.serve_again("nrt");
    deployment
        .as_admin(&["node", "unrevoke", "dev-1", "--reason", "test"])
        .succeeds();
    opens(&deployment, "sealed", "default");
    let contains: Vec<&str> = heads
        .lines()
        .flat_map(|head| ["--contains", head])
        .collect();
    deployment
        .as_auditor(&[&["audit", "verify"][..], &contains].concat())
        .succeeds();
    deployment.stop();
}

#[test]
fn a_deployment_that_was_ended_is_served_again() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &[]);
    seal(&deployment, "sealed", "default");
    deployment.stop();
    let deployment = Deployment::start(&lab, &[]);
    opens(&deployment, "sealed", "default");
    let status = deployment.as_node(&["agent", "status", "--json"]).json();
    assert_eq!(
        (&status["node"], &status["revoked"]),
        (&"dev-1".into(), &false.into())
    );
    deployment.stop();
}

#[test]
fn a_key_is_refreshed_and_shared_over_other_holders_and_opens_what_it_sealed() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &["--holders", "4", "--sharing", "3"]);
    seal(&deployment, "sealed", "default");
    deployment
        .as_admin(&["key", "refresh", "default", "--reason", "yearly"])
        .succeeds();
    opens(&deployment, "sealed", "default");
    let reshare = [
        "key",
        "reshare",
        "default",
        "-t",
        "2",
        "--holders",
        "gru,nrt,syd",
        "--reason",
        "fra closes",
    ];
    deployment.as_admin(&reshare).succeeds();
    let key = deployment
        .as_admin(&["key", "show", "default", "--json"])
        .json();
    assert_eq!(key["sharedBy"], serde_json::json!(["gru", "nrt", "syd"]));
    assert_eq!(key["generation"], 3);
    deployment.kill("fra");
    opens(&deployment, "sealed", "default");
    deployment
        .as_admin(&["key", "disable", "default", "--reason", "audit"])
        .succeeds();
    let decrypt = [
        "decrypt",
        "oci:sealed:v1",
        "oci:none:v1",
        "-k",
        "holders:default",
    ];
    let disabled = deployment.as_node(&decrypt);
    assert_eq!(disabled.code, 6, "{}", disabled.stderr);
    deployment
        .as_admin(&["key", "enable", "default", "--reason", "audit over"])
        .succeeds();
    opens(&deployment, "sealed", "default");
    deployment.stop();
}

#[test]
fn a_key_of_ones_own_is_split_over_holders() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &[]);
    lab.key("own");
    let import = [
        "key",
        "import",
        "own",
        "--from",
        "own.pem",
        "-t",
        "2",
        "--holders",
        "fra,gru,nrt",
    ];
    deployment
        .as_admin(&[&import[..], &["--unbound", "--reason", "moved"]].concat())
        .succeeds();
    let exported = deployment
        .as_admin(&["key", "export", "own", "-q"])
        .succeeds();
    let public = std::fs::read_to_string(lab.path("own.pub.pem")).unwrap();
    assert_eq!(exported, public.trim_end());
    // Sealed for the key as anybody may have it; opened by holders.
    lab.sealift(&["encrypt", "oci:plain:v1", "oci:own:v1", "-r", "own.pub.pem"])
        .succeeds();
    let descriptor = deployment.path("key-own.dsse.json");
    let text = std::fs::read_to_string(deployment.path("holders.toml")).unwrap();
    assert!(descriptor.exists());
    let entry = "\n[[key]]\nid = \"own\"\ndescriptor = \"key-own.dsse.json\"\n";
    std::fs::write(deployment.path("holders.toml"), format!("{text}{entry}")).unwrap();
    opens(&deployment, "own", "own");
    deployment.stop();
}

#[test]
fn keys_of_the_pre_standard_suites_open_with_one_holder_killed_and_keep_their_holders() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &[]);
    let create = |id: &str, more: &[&str]| {
        let create = [
            "key",
            "create",
            id,
            "-t",
            "2",
            "--holders",
            "fra,gru,nrt",
            "--reason",
            "trial",
        ];
        deployment.as_admin(&[&create[..], more].concat())
    };
    let mut text = std::fs::read_to_string(deployment.path("holders.toml")).unwrap();
    let suites = [
        ("hybrid", "P256-TDH2+SSS-HPKE-XWING"),
        ("sss-xwing", "SSS-HPKE-XWING"),
    ];
    for (suite, name) in suites {
        let created = create(suite, &["--suite", suite]);
        assert!(
            created.stderr.contains("follows drafts"),
            "{}",
            created.stderr
        );
        created.succeeds();
        let entry =
            format!("\n[[key]]\nid = \"{suite}\"\ndescriptor = \"key-{suite}.dsse.json\"\n");
        text.push_str(&entry);
        std::fs::write(deployment.path("holders.toml"), &text).unwrap();
        let key = deployment
            .as_admin(&["key", "show", suite, "--json"])
            .json();
        assert_eq!(key["suite"], name);
        seal(&deployment, suite, suite);
        opens(&deployment, suite, suite);
        let reshare = [
            "key",
            "reshare",
            suite,
            "-t",
            "2",
            "--holders",
            "fra,gru",
            "--reason",
            "nrt closes",
        ];
        deployment
            .as_admin(&reshare)
            .fails(2, "keeps its holders and its threshold");
    }
    create("stock", &["--suite", "hybrid", "--unbound"]).fails(2, "cannot be used with");
    deployment
        .as_admin(&["key", "refresh", "sss-xwing", "--reason", "yearly"])
        .fails(2, "no shares that could be renewed");
    deployment
        .as_admin(&["key", "refresh", "hybrid", "--reason", "yearly"])
        .succeeds();
    deployment
        .as_node(&["key", "export", "sss-xwing"])
        .fails(2, "has no public key");

    // Wraps of all suites in one list: whichever key is at hand opens.
    let encrypt = [
        "encrypt",
        "oci:plain:v1",
        "oci:all:v1",
        "-r",
        "holders:default",
        "-r",
        "holders:hybrid",
        "-r",
        "holders:sss-xwing",
        "--label-repo",
        REPO,
    ];
    deployment.as_node(&encrypt).succeeds();
    deployment.kill("gru");
    for (suite, _) in suites {
        opens(&deployment, suite, suite);
        opens(&deployment, "all", suite);
    }
    opens(&deployment, "all", "default");
    deployment.stop();
}
