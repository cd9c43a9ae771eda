use sealift_testkit::image::Tar;

use super::*;
use crate::tar;

/// Layers that count how often they were asked.
#[derive(Debug)]
struct Stack {
    layers: Vec<Arc<LayerFiles>>,
    asked: Vec<usize>,
}

impl Layers for Stack {
    type Error = String;

    fn count(&self) -> usize {
        self.layers.len()
    }

    fn files(&mut self, index: usize) -> Result<Arc<LayerFiles>, String> {
        if !self.asked.contains(&index) {
            self.asked.push(index);
        }
        Ok(Arc::clone(&self.layers[index]))
    }
}

/// Puts layers on top of each other, the base first.
fn merged<const N: usize>(layers: [Tar; N]) -> Merged<Stack> {
    let listed = layers.map(|layer| {
        let mut files = LayerFiles::default();
        let octets = layer.build();
        tar::walk(&mut &*octets, &mut |member| files.add(member)).unwrap();
        Arc::new(files)
    });
    Merged(Stack {
        layers: listed.to_vec(),
        asked: Vec::new(),
    })
}

/// Where a path leads: layer and path, or the error.
fn at(merged: &mut Merged<Stack>, path: &str) -> String {
    match merged
        .resolve(path.as_bytes(), Follow::Yes)
        .and_then(|found| merged.behind_hard_links(found))
    {
        Ok(found) => format!("{} {} {}", found.layer, found.path, found.kind()),
        Err(error) => error.to_string(),
    }
}

fn names(merged: &mut Merged<Stack>, folder: &str) -> String {
    let found = merged.resolve(folder.as_bytes(), Follow::Yes).unwrap();
    let listed = merged.list(&found.path).unwrap();
    let names: Vec<String> = listed
        .iter()
        .map(|listed| {
            let name = String::from_utf8_lossy(&listed.name);
            format!("{name}@{}", listed.found.layer)
        })
        .collect();
    names.join(" ")
}

#[test]
fn the_topmost_layer_that_has_a_path_decides_and_no_other_is_asked() {
    let mut image = merged([
        Tar::new()
            .folder("etc")
            .file("etc/a", b"old")
            .file("etc/b", b"b"),
        Tar::new().file("etc/c", b"c"),
        Tar::new().file("./etc/a", b"new"),
    ]);
    assert_eq!(at(&mut image, "/etc/a"), "2 /etc/a file");
    assert_eq!(image.0.asked, [2]);
    assert_eq!(at(&mut image, "etc/./c/"), "1 /etc/c file");
    assert_eq!(image.0.asked, [2, 1]);
    assert_eq!(at(&mut image, "//etc//b"), "0 /etc/b file");
    assert_eq!(at(&mut image, "etc"), "0 /etc directory");
    assert_eq!(at(&mut image, "etc/d"), "there is no `/etc/d`");
    assert_eq!(names(&mut image, "etc"), "a@2 b@0 c@1");
    assert_eq!(names(&mut image, "/"), "etc@0");
}

#[test]
fn whiteouts_hide_what_is_below_and_only_that() {
    let mut image = merged([
        Tar::new()
            .file("d/a", b"1")
            .file("d/b", b"1")
            .file("gone/x/y", b"1"),
        Tar::new()
            .whiteout("d/a")
            .file("d/b", b"2")
            .whiteout("d/b")
            .whiteout("gone"),
        Tar::new().file("d/c", b"3"),
    ]);
    assert_eq!(at(&mut image, "d/a"), "there is no `/d/a`");
    // A file beside its own whiteout is there: it hides the one below.
    assert_eq!(at(&mut image, "d/b"), "1 /d/b file");
    assert_eq!(at(&mut image, "gone/x/y"), "there is no `/gone/x/y`");
    assert_eq!(names(&mut image, "d"), "b@1 c@2");
    assert_eq!(names(&mut image, "/"), "d@2");
}

#[test]
fn a_whiteout_stops_the_search() {
    let mut image = merged([
        Tar::new().file("d/a", b"1"),
        Tar::new().whiteout("d/a").opaque("o"),
    ]);
    assert_eq!(at(&mut image, "d/a"), "there is no `/d/a`");
    assert_eq!(at(&mut image, "o/x"), "there is no `/o/x`");
    assert_eq!(image.0.asked, [1]);
}

#[test]
fn an_opaque_folder_hides_everything_below() {
    let mut image = merged([
        Tar::new().file("d/a", b"1").file("d/e/f", b"1"),
        Tar::new().opaque("d").file("d/b", b"2"),
        Tar::new().file("d/c", b"3"),
    ]);
    assert_eq!(names(&mut image, "d"), "b@1 c@2");
    assert_eq!(at(&mut image, "d/e/f"), "there is no `/d/e/f`");
    // That of the root, too.
    let mut image = merged([
        Tar::new().file("a", b"1"),
        Tar::new().opaque(".").file("b", b"2"),
    ]);
    assert_eq!(names(&mut image, "/"), "b@1");
}

#[test]
fn a_folder_may_be_replaced_by_a_file_and_the_other_way_round() {
    let mut image = merged([
        Tar::new()
            .folder("a")
            .file("a/x", b"1")
            .file("b", b"1")
            .link("c", "a"),
        Tar::new()
            .file("a", b"2")
            .folder("b")
            .file("b/y", b"2")
            .folder("c")
            .file("c/z", b"2"),
    ]);
    assert_eq!(at(&mut image, "a"), "1 /a file");
    assert_eq!(at(&mut image, "a/x"), "there is no `/a/x`");
    assert_eq!(names(&mut image, "b"), "y@1");
    assert_eq!(names(&mut image, "c"), "z@1");
    assert_eq!(at(&mut image, "c/x"), "there is no `/c/x`");
    // Deeper: nothing of a folder comes back through a file that replaced it in between.
    let mut image = merged([
        Tar::new().file("a/x", b"1"),
        Tar::new().file("a", b"2"),
        Tar::new().folder("a").file("a/y", b"3"),
    ]);
    assert_eq!(names(&mut image, "a"), "y@2");
    assert_eq!(at(&mut image, "a/x"), "there is no `/a/x`");
}

#[test]
fn links_are_followed_below_the_root() {
    let mut image = merged([
        Tar::new()
            .file("usr/bin/sh", b"1")
            .link("bin", "usr/bin")
            .link("up", "../../../../usr/bin/sh")
            .link("absolute", "/usr/./bin/../bin/sh")
            .link("usr/back", "..")
            .link("usr/lib", "bin")
            .link("dangling", "nowhere"),
        Tar::new().link("bin/bash", "sh").file("bin/dash", b"2"),
    ]);
    for path in [
        "bin/sh",
        "up",
        "absolute",
        "usr/back/bin/sh",
        "usr/lib/sh",
        "usr/lib/../bin/sh",
        "usr/back/usr/back/bin/../bin/sh",
        "../../usr/bin/sh",
    ] {
        assert_eq!(at(&mut image, path), "0 /usr/bin/sh file", "{path}");
    }
    assert_eq!(at(&mut image, "dangling"), "there is no `/nowhere`");
    // What an upper layer put behind a link is found by the path it was put there.
    assert_eq!(at(&mut image, "bin/dash"), "1 /bin/dash file");
    assert_eq!(at(&mut image, "bin"), "0 /usr/bin directory");
    let link = image.resolve(b"usr/lib", Follow::No).unwrap();
    assert_eq!(link.kind(), "symlink");
}

#[test]
fn links_without_end_are_given_up() {
    let mut image = merged([Tar::new()
        .link("a", "b")
        .link("b", "a")
        .link("self/x", "x/x")
        .link("deep", "deep/../deep")]);
    for path in ["a", "self/x", "deep"] {
        let message = at(&mut image, path);
        assert!(message.ends_with("through more than 40 links"), "{message}");
    }
    // Forty are allowed.
    let chain = (0..40).fold(Tar::new().file("l40", b"x"), |tar, n| {
        tar.link(&format!("l{n}"), &format!("l{}", n + 1))
    });
    let mut image = merged([chain]);
    assert_eq!(at(&mut image, "l0"), "0 /l40 file");
}

#[test]
fn hard_links_lead_into_their_own_layer_or_below() {
    let mut image = merged([
        Tar::new().file("a", b"1").file("b", b"1"),
        Tar::new()
            .hard_link("to-a", "a")
            .file("b", b"2")
            .hard_link("to-b", "b")
            .hard_link("twice", "to-b"),
        Tar::new()
            .file("a", b"3")
            .whiteout("b")
            .hard_link("lost", "b")
            .hard_link("loop", "loop"),
    ]);
    // Not the file that replaced it later.
    assert_eq!(at(&mut image, "to-a"), "0 /a file");
    assert_eq!(at(&mut image, "to-b"), "1 /b file");
    assert_eq!(at(&mut image, "twice"), "1 /b file");
    assert_eq!(at(&mut image, "lost"), "there is no `/b`");
    assert_eq!(at(&mut image, "loop"), "there is no `/loop`");
}

#[test]
fn windows_layers_are_folders_like_others() {
    let mut image = merged([
        Tar::new()
            .file("Files/Windows/System32/license.rtf", b"1")
            .file("Hives/System_Delta", b"1"),
        Tar::new()
            .whiteout("Files/Windows/System32/license.rtf")
            .file("Files/app/a.exe", b"2"),
    ]);
    assert_eq!(names(&mut image, "/"), "Files@1 Hives@0");
    assert_eq!(names(&mut image, "Files"), "Windows@1 app@1");
    assert_eq!(names(&mut image, "Files/Windows/System32"), "");
}

#[test]
fn an_image_without_layers_has_no_files() {
    let mut image = merged([]);
    assert_eq!(at(&mut image, "/"), "there is no `/`");
}

#[test]
fn names_take_a_limited_amount_of_memory() {
    let mut files = LayerFiles::default();
    let member = |path: &str| Member {
        path: FilePath::of_entry(path.as_bytes()).unwrap(),
        kind: Kind::Folder,
        mode: 0,
        uid: 0,
        gid: 0,
        modified: crate::Timestamp::default(),
    };
    let deep = vec!["d"; 2000].join("/");
    let refused = (0..1000).find_map(|n| files.add(member(&format!("{n}/{deep}"))).err());
    assert!(
        matches!(refused, Some(crate::ListError::TooMuch { .. })),
        "{refused:?}"
    );
}
