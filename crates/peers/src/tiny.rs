//! The tiny image, sealed by one program and opened by the other.

use crate::lab::Lab;
use crate::layout::Layout;

impl Lab {
    /// Lets skopeo seal the tiny image for recipients as its `--encryption-key` takes them.
    #[track_caller]
    pub fn skopeo_seals(&self, source: &Layout, sealed: &Layout, recipients: &[String]) {
        self.skopeo_copies(source, sealed, "--encryption-key", recipients);
    }

    /// Lets skopeo open the tiny image with keys as its `--decryption-key` takes them.
    #[track_caller]
    pub fn skopeo_opens(&self, sealed: &Layout, opened: &Layout, keys: &[String]) {
        self.skopeo_copies(sealed, opened, "--decryption-key", keys);
    }

    #[track_caller]
    fn skopeo_copies(&self, from: &Layout, to: &Layout, option: &str, values: &[String]) {
        let mut arguments = vec!["copy", "-q"];
        arguments.extend(values.iter().flat_map(|value| [option, value]));
        let layouts = [from.reference("tiny"), to.reference("tiny")];
        arguments.extend(layouts.iter().map(String::as_str));
        self.skopeo(&arguments);
    }

    /// Seals the tiny image in ocicrypt's format.
    #[track_caller]
    pub fn seals(&self, source: &Layout, sealed: &Layout, recipients: &[String]) {
        let mut arguments = vec!["encrypt", "--cipher=ocicrypt"];
        arguments.extend(recipients.iter().flat_map(|one| ["-r", one]));
        let layouts = [source.reference("tiny"), sealed.reference("tiny")];
        arguments.extend(layouts.iter().map(String::as_str));
        let printed = self.sealift(&arguments).succeeded();
        assert_eq!(printed.answer(), sealed.image("tiny").digest);
    }

    /// Opens the tiny image; `keys` are the options that name them.
    #[track_caller]
    pub fn opens(&self, sealed: &Layout, opened: &Layout, keys: &[&str]) {
        let layouts = [sealed.reference("tiny"), opened.reference("tiny")];
        let mut arguments = vec!["decrypt", &layouts[0], &layouts[1]];
        arguments.extend(keys);
        let printed = self.sealift(&arguments).succeeded();
        assert_eq!(printed.answer(), opened.image("tiny").digest);
    }
}

impl Layout {
    /// Compares the tiny image with the one it was made of. skopeo renders manifests anew, so what must be the same is what
    /// they name: config and layers, in digest and type.
    #[track_caller]
    pub fn assert_same_content(&self, source: &Self) {
        let (before, after) = (source.image("tiny"), self.image("tiny"));
        assert_eq!(after.layers(), before.layers());
        assert_eq!(after.media_types(), before.media_types());
        assert_eq!(after.config(), before.config());
        self.assert_intact("tiny");
    }
}
