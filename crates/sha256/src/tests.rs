use aws_lc_rs::digest::digest;

use super::*;

fn expected(octets: &[u8]) -> Vec<u8> {
    digest(&SHA256, octets).as_ref().to_vec()
}

/// As every processor has it.
fn through_aws_lc() -> Sha256 {
    Sha256::starting(State::AwsLc(Context::new(&SHA256)))
}

#[test]
fn the_examples_of_fips_180() {
    for (octets, hex) in [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ] {
        for mut hasher in [Sha256::new(), through_aws_lc()] {
            hasher.update(octets.as_bytes());
            let made: String = hasher.finish().iter().map(|o| format!("{o:02x}")).collect();
            assert_eq!(made, hex);
        }
    }
}

#[test]
fn every_length_up_to_four_blocks_and_every_cut_in_two() {
    let octets: Vec<u8> = (0..=255).collect();
    for len in 0..octets.len() {
        let octets = &octets[..len];
        let expected = expected(octets);
        for cut in 0..=len {
            let (first, second) = octets.split_at(cut);
            let mut alone = Sha256::new();
            alone.update(first);
            // The one has what the other has not yet.
            let mut other = alone.clone();
            let mut beside = Sha256::new();
            alone.update_both(second, &mut beside, first);
            beside.update_both(second, &mut other, second);
            for made in [alone, beside, other] {
                assert_eq!(made.finish().as_slice(), expected, "{len} cut at {cut}");
            }
        }
    }
}

/// Two streams grow by pieces of random lengths, alone or together; a hundred thousand cuts a second and more.
#[test]
fn a_million_random_cuts_make_no_difference() {
    let mut random = fastrand::Rng::with_seed(0x5ea1_1f70);
    let octets: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(1 << 16)
        .collect();
    let mut cuts = 0;
    while cuts < 1_000_000 {
        let mut ours = [Sha256::new(), Sha256::new()];
        let mut theirs = [Context::new(&SHA256), Context::new(&SHA256)];
        for _ in 0..random.usize(1..40) {
            let longest = *random.choice(&[1, 3, 64, 65, 130, 1000]).unwrap();
            let pieces = [0, 1].map(|_| {
                let start = random.usize(..octets.len() - 1000);
                &octets[start..][..random.usize(..=longest)]
            });
            cuts += 2;
            for (their, piece) in theirs.iter_mut().zip(pieces) {
                their.update(piece);
            }
            let [one, two] = &mut ours;
            match random.u8(..4) {
                0 => {
                    one.update(pieces[0]);
                    two.update(pieces[1]);
                }
                1 => two.update_both(pieces[1], one, pieces[0]),
                _ => one.update_both(pieces[0], two, pieces[1]),
            }
        }
        for (our, their) in ours.into_iter().zip(theirs) {
            assert_eq!(our.finish(), their.finish().as_ref(), "after {cuts} cuts");
        }
    }
}

#[test]
fn streams_of_different_kinds_and_lengths_go_together() {
    let long = vec![0x5a; 1 << 20];
    for (mut one, mut two) in [
        (Sha256::new(), through_aws_lc()),
        (through_aws_lc(), Sha256::new()),
        (through_aws_lc(), through_aws_lc()),
        (Sha256::new(), Sha256::new()),
    ] {
        one.update_both(&long, &mut two, b"short");
        two.update_both(&[], &mut one, &long[..77]);
        let mut all = long.clone();
        all.extend_from_slice(&long[..77]);
        assert_eq!((one.taken(), two.taken()), (all.len() as u64, 5));
        assert_eq!(one.finish().as_slice(), expected(&all));
        assert_eq!(two.finish().as_slice(), expected(b"short"));
    }
}

#[test]
fn the_length_is_counted_beyond_four_gibibits() {
    // FIPS 180-4 counts bits in 64 bits; 2^32 bits are 512 MiB.
    let piece = vec![7; 1 << 20];
    let mut ours = Sha256::new();
    let mut beside = Sha256::new();
    let mut theirs = Context::new(&SHA256);
    for _ in 0..513 {
        ours.update_both(&piece, &mut beside, &piece);
        theirs.update(&piece);
    }
    let digest = theirs.finish();
    assert_eq!(ours.finish(), digest.as_ref());
    assert_eq!(beside.finish(), digest.as_ref());
}

#[test]
fn streams_are_compressed_as_far_as_the_shortest_goes() {
    let Some(features) = Features::detect() else {
        return;
    };
    let (one, two) = ([[7; BLOCK_LEN]], [[7; BLOCK_LEN], [8; BLOCK_LEN]]);
    let (mut first, mut second) = (INITIAL, INITIAL);
    compress(features, [&mut first, &mut second], [&one, &two]);
    let mut expected = INITIAL;
    compress(features, [&mut expected], [&one]);
    assert_eq!((first, second), (expected, expected));
}
