//! The compression function of SHA-256 for several streams at once (FIPS 180-4, section 6.2.2), by the processor's own
//! instructions for it.

/// Octets of a block.
pub(crate) const BLOCK_LEN: usize = 64;

/// The state, from a to h.
pub(crate) type Words = [u32; 8];

pub(crate) use processor::{Features, compress};

#[cfg(target_arch = "x86_64")]
mod processor {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
        _mm_shuffle_epi8, _mm_shuffle_epi32,
    };

    use super::{BLOCK_LEN, Words};

    /// Proof that this processor has the instructions.
    #[derive(Clone, Copy)]
    pub(crate) struct Features(());

    impl Features {
        pub(crate) fn detect() -> Option<Self> {
            (is_x86_feature_detected!("sha")
                && is_x86_feature_detected!("ssse3")
                && is_x86_feature_detected!("sse4.1"))
            .then_some(Self(()))
        }
    }

    /// Takes so many blocks into each state as the shortest of the streams has.
    pub(crate) fn compress<const N: usize>(
        _: Features,
        states: [&mut Words; N],
        streams: [&[[u8; BLOCK_LEN]]; N],
    ) {
        #[expect(
            unsafe_code,
            reason = "the processor was asked, which the compiler cannot know"
        )]
        // SAFETY: `rounds` has no other condition than that the processor has `sha`, `ssse3` and `sse4.1`, and there is
        // no `Features` without that.
        unsafe {
            rounds(states, streams);
        }
    }

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn rounds<const N: usize>(states: [&mut Words; N], streams: [&[[u8; BLOCK_LEN]]; N]) {
        let mut halves: [Halves; N] = std::array::from_fn(|_| [_mm_setzero_si128(); 2]);
        for (halves, words) in halves.iter_mut().zip(&states) {
            *halves = load_state(words);
        }
        let count = streams.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
        for index in 0..count {
            let before = halves;
            let mut schedules = [[_mm_setzero_si128(); 4]; N];
            for (schedule, blocks) in schedules.iter_mut().zip(streams) {
                if let Some(block) = blocks.get(index) {
                    *schedule = load_block(block);
                }
            }
            let [first, second, third, fourth] = &CONSTANTS;
            first_rounds(&mut halves, &schedules, first);
            later_rounds(&mut halves, &mut schedules, second);
            later_rounds(&mut halves, &mut schedules, third);
            later_rounds(&mut halves, &mut schedules, fourth);
            for ([abef, cdgh], before) in halves.iter_mut().zip(before) {
                let [abef_before, cdgh_before] = before;
                *abef = _mm_add_epi32(*abef, abef_before);
                *cdgh = _mm_add_epi32(*cdgh, cdgh_before);
            }
        }
        for (halves, words) in halves.iter().zip(states) {
            store_state(halves, words);
        }
    }

    /// Takes the block itself. The streams take turns at every step: that is what keeps the processor busy.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn first_rounds<const N: usize>(
        states: &mut [Halves; N],
        schedules: &[Schedule; N],
        constants: &[[u32; 4]; 4],
    ) {
        for (step, constants) in constants.iter().enumerate() {
            for (halves, schedule) in states.iter_mut().zip(schedules) {
                if let Some(words) = schedule.get(step) {
                    four_rounds(halves, *words, constants);
                }
            }
        }
    }

    /// Takes the next sixteen words of the schedules.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn later_rounds<const N: usize>(
        states: &mut [Halves; N],
        schedules: &mut [Schedule; N],
        constants: &[[u32; 4]; 4],
    ) {
        for constants in constants {
            for (halves, schedule) in states.iter_mut().zip(&mut *schedules) {
                let words = extend(schedule);
                four_rounds(halves, words, constants);
            }
        }
    }

    /// The state as the instructions want it: a b e f and c d g h, each from the highest lane to the lowest.
    type Halves = [__m128i; 2];

    /// Sixteen words, the oldest first.
    type Schedule = [__m128i; 4];

    #[target_feature(enable = "sse2")]
    fn load_state(words: &Words) -> Halves {
        let [a, b, c, d, e, f, g, h] = words.map(u32::cast_signed);
        [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)]
    }

    #[target_feature(enable = "sse4.1")]
    fn store_state([abef, cdgh]: &Halves, words: &mut Words) {
        *words = [
            _mm_extract_epi32::<3>(*abef),
            _mm_extract_epi32::<2>(*abef),
            _mm_extract_epi32::<3>(*cdgh),
            _mm_extract_epi32::<2>(*cdgh),
            _mm_extract_epi32::<1>(*abef),
            _mm_extract_epi32::<0>(*abef),
            _mm_extract_epi32::<1>(*cdgh),
            _mm_extract_epi32::<0>(*cdgh),
        ]
        .map(i32::cast_unsigned);
    }

    /// The sixteen words of a block, big-endian.
    #[target_feature(enable = "ssse3")]
    fn load_block(block: &[u8; BLOCK_LEN]) -> Schedule {
        let reversed = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let mut words = [_mm_setzero_si128(); 4];
        let (quarters, _) = block.as_chunks::<16>();
        for (words, quarter) in words.iter_mut().zip(quarters) {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *quarter;
            let low = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
            let high = i64::from_le_bytes([i, j, k, l, m, n, o, p]);
            *words = _mm_shuffle_epi8(_mm_set_epi64x(high, low), reversed);
        }
        words
    }

    /// Appends four words to the last sixteen, of which the four oldest fall out, and returns them.
    #[target_feature(enable = "sha,ssse3")]
    fn extend(schedule: &mut Schedule) -> __m128i {
        let [oldest, older, newer, newest] = *schedule;
        let words = _mm_sha256msg1_epu32(oldest, older);
        let words = _mm_add_epi32(words, _mm_alignr_epi8::<4>(newest, newer));
        let words = _mm_sha256msg2_epu32(words, newest);
        *schedule = [older, newer, newest, words];
        words
    }

    #[target_feature(enable = "sha")]
    fn four_rounds([abef, cdgh]: &mut Halves, words: __m128i, constants: &[u32; 4]) {
        let [first, second, third, fourth] = constants.map(u32::cast_signed);
        let words = _mm_add_epi32(words, _mm_set_epi32(fourth, third, second, first));
        *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, words);
        *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32::<0x0e>(words));
    }

    /// FIPS 180-4, section 4.2.2, four rounds at a time.
    const CONSTANTS: [[[u32; 4]; 4]; 4] = [
        [
            [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
            [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
            [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
            [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        ],
        [
            [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
            [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
            [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
            [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        ],
        [
            [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
            [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
            [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
            [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        ],
        [
            [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
            [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
            [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
            [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
        ],
    ];
}

#[cfg(not(target_arch = "x86_64"))]
mod processor {
    use super::{BLOCK_LEN, Words};

    /// There are none.
    #[derive(Clone, Copy)]
    pub(crate) enum Features {}

    impl Features {
        pub(crate) fn detect() -> Option<Self> {
            None
        }
    }

    pub(crate) fn compress<const N: usize>(
        features: Features,
        _: [&mut Words; N],
        _: [&[[u8; BLOCK_LEN]]; N],
    ) {
        match features {}
    }
}
