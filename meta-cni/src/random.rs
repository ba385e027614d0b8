//! Random numbers, good enough for names, jitter and the identities of traces; not for secrets.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A random number, different in each process and each call; never zero.
pub fn number() -> u64 {
    // The standard library seeds each RandomState from the operating system and changes it every time.
    RandomState::new().build_hasher().finish().max(1)
}

/// A random number in `0.0..1.0`.
pub fn dice() -> f64 {
    // 53 bits are what an f64 holds exactly.
    (number() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_stay_in_range_and_differ() {
        let throws: Vec<f64> = (0..1_000).map(|_| dice()).collect();
        assert!(throws.iter().all(|n| (0.0..1.0).contains(n)));
        assert!(throws.windows(2).any(|pair| pair[0] != pair[1]));
        let mean = throws.iter().sum::<f64>() / 1_000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}
