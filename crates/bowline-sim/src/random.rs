//! Numbers from a seed: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). Integers
//! only, so that a seed means the same on every machine.

use std::time::Duration;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for a purpose: what is drawn for one purpose does not shift what is drawn for another, so
    /// that a scenario from which a fault was taken away stays the same otherwise.
    pub fn split(seed: u64, purpose: &str) -> Self {
        let mixed = purpose.bytes().fold(seed, |state, byte| Self(state ^ u64::from(byte)).draw());
        Self(mixed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low + 1)
    }

    /// True in so many of a thousand cases.
    pub fn in_thousand(&mut self, cases: u64) -> bool {
        self.draw() % 1000 < cases
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.draw() % of.len() as u64) as usize]
    }

    /// A time in milliseconds, both ends included.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// A time that is as likely to have few digits as many: faults at the very beginning are worth as much as late ones.
    pub fn any_millis(&mut self, high: u64) -> Duration {
        Duration::from_millis(self.any_size(high))
    }

    /// A number from 0 to `high`, each magnitude equally likely.
    pub fn any_size(&mut self, high: u64) -> u64 {
        let bits = self.between(0, u64::from(64 - high.leading_zeros()));
        self.between(0, ((1u128 << bits) as u64).min(high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_stream_and_purposes_are_apart() {
        let draw = |mut random: Random| [random.draw(), random.draw(), random.draw()];
        assert_eq!(draw(Random::new(7)), draw(Random::new(7)));
        assert_ne!(draw(Random::split(7, "network")), draw(Random::split(7, "udev")));
        let mut random = Random::new(1);
        assert!((0..1000).map(|_| random.any_size(500)).all(|size| size <= 500));
        assert!((0..1000).map(|_| random.between(3, 5)).all(|n| (3..=5).contains(&n)));
    }
}
