/// Returns octets that look random, do not compress, and are the same for the same seed everywhere.
///
/// The generator is SplitMix64: nothing to make keys of.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    });
    words.flatten().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::noise;

    /// From the generator's reference code with seed 1234567.
    #[test]
    fn begins_as_the_reference_does() {
        let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973];
        let octets: Vec<u8> = expected.iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(noise(1_234_567, 16), octets);
        assert_eq!(noise(1_234_567, 11), octets[..11]);
    }
}
