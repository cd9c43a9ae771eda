//! The plan of the house, `crates/README.md`, as a test: who may use whom, and what never enters a crate.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What the plan says about one crate.
struct Room {
    name: &'static str,
    /// Our crates that it may use.
    uses: &'static [&'static str],
    /// What must not come in, not even through others.
    never: &'static [&'static str],
    /// What its own code must not ask the system for.
    asks_not: &'static [&'static str],
}

/// Every crate that is or will be; one that is not here has no place in the house.
const HOUSE: &[Room] = &[
    // Level 0: nouns and envelopes.
    Room {
        name: "sys",
        uses: &[],
        never: NETWORK,
        asks_not: &[],
    },
    Room {
        name: "sha256",
        uses: &[],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    Room {
        name: "oci",
        uses: &["sha256"],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    Room {
        name: "keywrap",
        uses: &[],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    Room {
        name: "tlog",
        uses: &[],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    // Level 1: one layer, one key, one decision, one blob.
    Room {
        name: "layer",
        uses: &["sys", "sha256", "oci", "keywrap"],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    Room {
        name: "threshold",
        uses: &["keywrap"],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    Room {
        name: "policy",
        uses: &[],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    Room {
        name: "files",
        uses: &["oci"],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    Room {
        name: "signature",
        uses: &["oci"],
        never: NETWORK,
        asks_not: SYSTEM,
    },
    Room {
        name: "registry",
        uses: &["sys", "oci"],
        never: TERMINAL,
        asks_not: SURROUNDINGS,
    },
    // Level 2: whole images, other processes.
    Room {
        name: "image",
        uses: &[
            "sys",
            "sha256",
            "oci",
            "layer",
            "keywrap",
            "files",
            "signature",
            "registry",
        ],
        never: TERMINAL,
        asks_not: SURROUNDINGS,
    },
    Room {
        name: "provider",
        uses: &["keywrap"],
        never: TERMINAL,
        asks_not: SURROUNDINGS,
    },
    Room {
        name: "token",
        uses: &["sys", "keywrap"],
        never: NETWORK,
        asks_not: SURROUNDINGS,
    },
    Room {
        name: "holder",
        uses: &["threshold", "keywrap", "tlog", "policy"],
        never: TERMINAL,
        asks_not: SURROUNDINGS,
    },
    // Level 3: programs. Only these know environment, configuration files and clock.
    Room {
        name: "agent",
        uses: &["sys", "threshold", "holder", "provider", "keywrap", "layer"],
        never: &[],
        asks_not: &[],
    },
    Room {
        name: "stream-processor",
        uses: &[
            "sys", "layer", "keywrap", "oci", "provider", "token", "agent",
        ],
        never: &[],
        asks_not: &[],
    },
    Room {
        name: "cli",
        uses: &[
            "sys",
            "oci",
            "keywrap",
            "tlog",
            "layer",
            "files",
            "threshold",
            "policy",
            "signature",
            "registry",
            "image",
            "provider",
            "token",
            "holder",
            "agent",
        ],
        never: &[],
        asks_not: &[],
    },
    // For tests only.
    Room {
        name: "testkit",
        uses: &[],
        never: &[],
        asks_not: &[],
    },
    Room {
        name: "peers",
        uses: &[],
        never: &[],
        asks_not: &[],
    },
];

/// Crates that only tests may depend on.
const FOR_TESTS: &[&str] = &["testkit", "peers"];

/// Crates that stay out of pure code: sockets, event loops and TLS, and those of [`TERMINAL`].
const NETWORK: &[&str] = &[
    "async-std",
    "clap",
    "console",
    "crossterm",
    "h2",
    "hyper",
    "indicatif",
    "mio",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tonic",
];

/// Crates that belong to programs.
const TERMINAL: &[&str] = &["clap", "console", "crossterm", "indicatif"];

/// What pure code does not ask for: it gets all of this as arguments.
const SYSTEM: &[&str] = &[
    "std::env::",
    "std::env;",
    "std::fs",
    "std::process",
    "std::thread",
    "Tcp",
    "Udp",
    "ToSocketAddrs",
    "Instant::",
    "SystemTime",
];

/// What nobody below the programs asks for.
const SURROUNDINGS: &[&str] = &[
    "env::var",
    "env::args",
    "env::home_dir",
    "env::temp_dir",
    "SystemTime::now",
];

/// Where code departs from the plan: file, words, and why it may. What no longer departs must leave this list.
const DEPARTURES: &[(&str, &str, &str)] = &[(
    "registry/src/http.rs",
    "SystemTime::now()",
    "`Retry-After` may be a date, which only a clock turns into a pause",
)];

/// Names of crates, and for each what it depends on in normal builds.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// What `cargo metadata` says, as far as the plan cares.
struct Workspace {
    root: PathBuf,
    /// The directory names of our crates.
    ours: BTreeSet<String>,
    /// Our crates by directory name, all others by package name.
    graph: Graph,
    /// Our crates that depend on one of ours that is for tests, other than in tests.
    misused: Vec<String>,
}

fn workspace() -> Workspace {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "cargo metadata: {message}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let members: BTreeSet<_> = texts(&metadata["workspace_members"]).into_iter().collect();
    let mut names = BTreeMap::new();
    let mut ours = BTreeSet::new();
    let mut misused = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let (id, name) = (text(&package["id"]), text(&package["name"]));
        let name = if members.contains(&id) {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let folder = manifest.parent().unwrap().file_name().unwrap();
            let folder = folder.to_str().unwrap().to_owned();
            assert_eq!(
                name,
                format!("sealift-{folder}"),
                "a package is named after its folder"
            );
            ours.insert(folder.clone());
            for dependency in package["dependencies"].as_array().unwrap() {
                let used = text(&dependency["name"]);
                let is_for_tests = FOR_TESTS.iter().any(|t| used == format!("sealift-{t}"));
                if is_for_tests && dependency["kind"] != "dev" {
                    misused.push(format!("{folder} uses {used} other than in tests"));
                }
            }
            folder
        } else {
            name
        };
        names.insert(id, name);
    }
    let mut graph = Graph::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let used = graph.entry(names[&text(&node["id"])].clone()).or_default();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                used.insert(names[&text(&dependency["pkg"])].clone());
            }
        }
    }
    Workspace {
        root: text(&metadata["workspace_root"]).into(),
        ours,
        graph,
        misused,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

/// Returns what the plan has against a graph.
fn objections(ours: &BTreeSet<String>, graph: &Graph) -> Vec<String> {
    let mut objections = Vec::new();
    for name in ours {
        let Some(room) = HOUSE.iter().find(|room| room.name == name) else {
            objections.push(format!("{name} is not in the plan"));
            continue;
        };
        for used in graph[name].intersection(ours) {
            if !room.uses.contains(&used.as_str()) {
                objections.push(format!("{name} may not use {used}"));
            }
        }
        let reached = reached_from(name, graph);
        for unwanted in room.never.iter().filter(|n| reached.contains(**n)) {
            objections.push(format!("{unwanted} must never enter {name}"));
        }
    }
    objections
}

fn reached_from(start: &str, graph: &Graph) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![start.to_owned()];
    while let Some(name) = waiting.pop() {
        for used in graph.get(&name).into_iter().flatten() {
            if reached.insert(used.clone()) {
                waiting.push(used.clone());
            }
        }
    }
    reached
}

/// Returns the Rust files below a folder, without those that hold only tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().unwrap() == "tests" {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns the lines of code that contain one of `words`, outside comments and tests.
fn mentions(code: &str, words: &[&str]) -> Vec<String> {
    // Tests stand at the end of a file.
    let code = code.replace("\r\n", "\n");
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap();
    code.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_crate_uses_only_what_the_plan_allows() {
    let workspace = workspace();
    assert_eq!(
        objections(&workspace.ours, &workspace.graph),
        Vec::<String>::new()
    );
}

#[test]
fn crates_for_tests_are_used_by_tests_only() {
    assert_eq!(workspace().misused, Vec::<String>::new());
}

#[test]
fn no_crate_below_the_programs_asks_for_its_surroundings() {
    let workspace = workspace();
    let crates = workspace.root.join("crates");
    let mut found = Vec::new();
    for room in HOUSE.iter().filter(|r| workspace.ours.contains(r.name)) {
        for path in sources(&crates.join(room.name).join("src")) {
            let place = path.strip_prefix(&crates).unwrap().to_str().unwrap();
            let place = place.replace('\\', "/");
            let lines = mentions(&fs::read_to_string(&path).unwrap(), room.asks_not);
            found.extend(lines.into_iter().map(|line| (place.clone(), line)));
        }
    }
    for (place, words, _) in DEPARTURES {
        let at = found
            .iter()
            .position(|(p, line)| p == place && line.contains(words));
        let at = at.unwrap_or_else(|| panic!("{place} departs no longer: `{words}`"));
        found.remove(at);
    }
    assert_eq!(found, Vec::<(String, String)>::new());
}

#[test]
fn oci_knows_no_cryptography_but_digests() {
    let mut found = Vec::new();
    for path in sources(&workspace().root.join("crates/oci/src")) {
        let lines = mentions(&fs::read_to_string(&path).unwrap(), &["aws_lc_rs"]);
        found.extend(
            lines
                .into_iter()
                .filter(|line| !line.starts_with("use aws_lc_rs::digest")),
        );
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_crate_tells_its_scope_and_takes_the_lints_of_the_house() {
    let workspace = workspace();
    for name in &workspace.ours {
        let folder = workspace.root.join("crates").join(name);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        for part in ["In scope", "Out of scope"] {
            assert!(
                readme.contains(part),
                "crates/{name}/README.md does not tell what is `{part}`"
            );
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let manifest = manifest.replace("\r\n", "\n");
        if name == UNSAFE {
            assert_eq!(own_lints(&manifest), lints_with_unsafe(&workspace.root));
            continue;
        }
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} has lints of its own"
        );
    }
}

/// The crate that may have `unsafe` code, where it says why.
const UNSAFE: &str = "sha256";

fn own_lints(manifest: &str) -> BTreeSet<String> {
    let lints = manifest.split_once("[lints.rust]").unwrap().1;
    lines(lints)
}

/// The lints of the house, as that crate must repeat them.
fn lints_with_unsafe(root: &Path) -> BTreeSet<String> {
    let house = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let house = house.replace("\r\n", "\n");
    let (_, lints) = house.split_once("[workspace.lints.rust]").unwrap();
    let (lints, _) = lints.split_once("\n#").unwrap();
    let lints = lints
        .replace("workspace.", "")
        .replace("unsafe_code = \"forbid\"", "unsafe_code = \"deny\"");
    lines(&(lints + "\nundocumented_unsafe_blocks = \"deny\""))
}

fn lines(text: &str) -> BTreeSet<String> {
    let filled = text.lines().filter(|line| !line.is_empty());
    filled.map(str::to_owned).collect()
}

#[test]
fn there_is_one_unsafe_call() {
    let mut found = Vec::new();
    for path in sources(&workspace().root.join("crates").join(UNSAFE)) {
        let source = fs::read_to_string(path).unwrap();
        found.extend(mentions(&source, &["unsafe {", "unsafe fn", "unsafe impl"]));
    }
    assert_eq!(found, ["unsafe {"]);
}

#[test]
fn the_map_shows_the_crates_that_are_there() {
    let workspace = workspace();
    let map = fs::read_to_string(workspace.root.join("crates/README.md")).unwrap();
    let shown: BTreeSet<_> = map
        .split("](")
        .filter_map(|rest| {
            rest.split_once("/README.md)")
                .map(|(name, _)| name.to_owned())
        })
        .collect();
    let mut there = workspace.ours;
    there.insert("fuzz".into());
    assert_eq!(shown, there);
}

#[test]
fn the_map_says_what_the_test_checks() {
    let map = fs::read_to_string(workspace().root.join("crates/README.md")).unwrap();
    let mut wrong = Vec::new();
    for row in map.lines().filter(|line| line.contains("/README.md)")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells[2].trim_start_matches('[').split(']').next().unwrap();
        let Some(room) = HOUSE.iter().find(|room| room.name == name) else {
            continue;
        };
        let mut used: BTreeSet<_> = cells[4].split('`').skip(1).step_by(2).collect();
        if cells[4] == "everything below" {
            used = room.uses.iter().copied().collect();
        }
        let allowed: BTreeSet<_> = room.uses.iter().copied().collect();
        // Rooms that are not there yet are not on the map either.
        let hidden = allowed
            .iter()
            .filter(|u| map.contains(&format!("]({u}/README.md)")));
        if !used.is_subset(&allowed) || hidden.into_iter().any(|u| !used.contains(u)) {
            wrong.push(row);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
}

#[test]
fn the_plan_objects_to_wrong_directions() {
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|n| (*n).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let ours = set(&["oci", "layer", "registry", "attic"]);
    let graph = Graph::from([
        ("oci".into(), set(&["layer", "serde"])),
        ("layer".into(), set(&["oci", "wrapper"])),
        ("wrapper".into(), set(&["tokio"])),
        ("registry".into(), set(&["oci", "tokio"])),
        ("attic".into(), set(&[])),
    ]);
    let expected = [
        "attic is not in the plan",
        "tokio must never enter layer",
        "oci may not use layer",
        "tokio must never enter oci",
    ];
    assert_eq!(objections(&ours, &graph), expected);
}

#[test]
fn code_is_searched_without_comments_and_tests() {
    let code = "//! std::fs\nuse std::fs;\nfn f() { std::env::var(\"X\") }\n#[cfg(test)]\nmod tests { use std::fs; }\n";
    assert_eq!(
        mentions(code, SYSTEM),
        ["use std::fs;", "fn f() { std::env::var(\"X\") }"]
    );
    assert_eq!(
        mentions(code, SURROUNDINGS),
        ["fn f() { std::env::var(\"X\") }"]
    );
}
