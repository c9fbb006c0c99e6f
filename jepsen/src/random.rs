//! Chance from a seed. The numbers of a seed never change, or old seeds would mean other runs: hence no
//! library (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The source of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Another source for one purpose, so that what one draws does not move the others.
    pub fn fork(seed: u64, purpose: &str) -> Self {
        let mut forked = Self::new(seed);
        for byte in purpose.bytes() {
            forked.state = forked.next().wrapping_add(u64::from(byte));
        }
        forked
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "it has no end, and is no sequence to go over")]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to one less than `bound`; 0 for a bound of 0. The bias is below 2^-32 for our bounds.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let turn = self.below(u64::try_from(among.len()).unwrap_or(u64::MAX));
        among.get(usize::try_from(turn).unwrap_or(usize::MAX))
    }

    /// In another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.below(u64::try_from(last).unwrap_or(0) + 1);
            list.swap(last, usize::try_from(other).unwrap_or(0));
        }
    }
}

/// A seed from the operating system.
///
/// # Errors
/// It has none to give.
pub fn fresh_seed() -> std::io::Result<u64> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes) % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        // The reference sequence of SplitMix64 for this seed.
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_ne!(Random::fork(7, "a").next(), Random::fork(7, "b").next());
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut random = Random::new(1);
        assert!((0..1_000).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
        let mut list: Vec<u32> = (0..50).collect();
        random.shuffle(&mut list);
        assert_ne!(list, (0..50).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..50).collect::<Vec<_>>());
    }
}
