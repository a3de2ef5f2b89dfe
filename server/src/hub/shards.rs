//! Shards as a set of bits.

/// Which shard, from 0.
pub type ShardIndex = usize;

/// Some of the shards; `config::SHARDS_MAX` keeps their indices within 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardSet(u64);

impl ShardSet {
    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardIndex) {
        self.0 |= 1 << shard;
    }

    /// Takes a shard out.
    pub fn remove(&mut self, shard: ShardIndex) {
        self.0 &= !(1 << shard);
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Every shard in the set, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = ShardIndex> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            let index = bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
            (index < u64::BITS).then_some(index as ShardIndex)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_what_was_put_in() {
        let mut set = ShardSet::default();
        for shard in [63, 0, 7, 7] {
            set.insert(shard);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 7, 63]);
        [0, 7, 63].into_iter().for_each(|shard| set.remove(shard));
        assert!(set.is_empty());
    }
}
