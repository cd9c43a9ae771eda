//! Images that are moved as they are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

use sealift_image::{Attached, Copy, Event, Progress};
use sealift_registry::{ImageRef, Options, RetryPolicy, Transport};
use sealift_testkit::image::{Format, ImageBuilder, Layer, Packing, Tar};
use sealift_testkit::noise;
use sealift_testkit::registry::{Effect, Fault, Operation, Options as Serving, Registry};

/// How many octets of each blob were told to have been moved.
#[derive(Default)]
struct Told(Mutex<HashMap<String, u64>>);

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::Advanced { digest, bytes } = event {
            *self
                .0
                .lock()
                .unwrap()
                .entry(digest.to_string())
                .or_default() += bytes;
        }
    }
}

#[test]
fn what_is_sent_again_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let layer = Layer::new(Tar::new().file("a", &noise(1, 400_000)), Packing::Plain);
    let image = ImageBuilder::new(Format::Oci).layer(layer).build();
    image.write_layout(folder.path(), "t");
    let transport = Transport::new(Options {
        retry: RetryPolicy {
            base: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        chunk_size: 64 * 1024,
        ..Options::default()
    })
    .unwrap();
    let from: ImageRef = format!("oci:{}:t", folder.path().display())
        .parse()
        .unwrap();
    for effect in [
        Effect::ForgetUpload,
        Effect::KeepOnly(5_000),
        Effect::LoseReply,
    ] {
        let registry = Registry::start(Serving::default());
        registry.set_fault(Fault::on(Operation::PatchUpload, effect.clone()).after(2));
        let to: ImageRef = format!("docker://{}/demo/app:v1", registry.host())
            .parse()
            .unwrap();
        let (source, told) = (transport.source(&from).unwrap(), Told::default());
        let outcome = Copy {
            source: &*source,
            sink: &*transport.sink(&to).unwrap(),
            platforms: Vec::new(),
            referrers: Attached::Drop,
            signatures: Attached::Drop,
            jobs: NonZeroUsize::MIN,
            progress: &told,
        }
        .run()
        .unwrap();
        assert_eq!(registry.pending_faults(), 0, "{effect:?}");
        let told = told.0.into_inner().unwrap();
        assert_eq!(told.len(), 2);
        for (digest, told) in told {
            let held = registry.blob("demo/app", &digest).unwrap();
            assert_eq!(held.len() as u64, told, "{effect:?}");
        }
        assert_eq!(outcome.digest.to_string(), image.digest());
    }
}
