use sealift_image::SourceCheck;
use sealift_layer::Cipher;
use sealift_testkit::image::{Format, ImageBuilder, Layer, Packing};
use sealift_testkit::noise;

use crate::lab::{Lab, PIECE};

const CIPHERS: [Cipher; 2] = [Cipher::Chunked, Cipher::CtrHmac];

#[test]
fn a_layer_of_any_length_comes_back_whatever_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::at(folder.path());
    let lengths = [0, 1, PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 9 * PIECE + 17];
    for (number, len) in lengths.into_iter().enumerate() {
        let plain = format!("plain{number}");
        let layer = Layer::of(noise(1, len), Packing::Plain);
        let image = ImageBuilder::new(Format::Oci).layer(layer).build();
        image.write_layout(&lab.folder.join(&plain), "t");
        for cipher in CIPHERS {
            for check in [SourceCheck::Verify, SourceCheck::Trust] {
                for jobs in [1, 2, 8] {
                    let source = lab.source(&plain);
                    lab.seal(&*source, "sealed", cipher, check, jobs).unwrap();
                    lab.verify(&*lab.source("sealed")).unwrap();
                    let opened = lab.open(&*lab.source("sealed"), "opened", jobs).unwrap();
                    assert_eq!(opened.digest.to_string(), image.digest());
                    let blob = image.layer_digest(0).replace(':', "/");
                    let blob = lab.folder.join("opened/blobs").join(blob);
                    assert!(std::fs::read(blob).unwrap() == noise(1, len));
                    lab.empty("sealed");
                    lab.empty("opened");
                }
            }
        }
    }
}

#[test]
fn more_layers_than_threads_come_back_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::at(folder.path());
    let lengths = (0..40).map(|n| 20_000 * (n % 7));
    let layers = (0..)
        .zip(lengths)
        .map(|(n, len)| Layer::of(noise(n, len), Packing::Plain));
    let image = ImageBuilder::new(Format::Oci).layers(layers).build();
    image.write_layout(&lab.folder.join("plain"), "t");
    for cipher in CIPHERS {
        for jobs in [1, 2, 100] {
            let source = lab.source("plain");
            let sealed = lab
                .seal(&*source, "sealed", cipher, SourceCheck::Verify, jobs)
                .unwrap();
            assert_eq!(sealed.layers_changed, 40);
            let opened = lab.open(&*lab.source("sealed"), "opened", jobs).unwrap();
            assert_eq!(opened.digest.to_string(), image.digest());
            lab.empty("sealed");
            lab.empty("opened");
        }
    }
}
