// SPDX-License-Identifier: MIT OR Apache-2.0
//! A table of at most so many entries that knows which was updated least recently.

use std::{collections::HashMap, hash::Hash};

use weir_flow::Timestamp;

/// No slot.
const NIL: u32 = u32::MAX;

struct Slot<K, V> {
    key: K,
    value: V,
    touched: Timestamp,
    /// Updated before this one.
    older: u32,
    /// Updated after this one.
    newer: u32,
}

/// Entries in the order of their last update. The caller's clock must not run backwards.
///
/// Memory grows with the entries up to the bound and is then constant. Keys are compared in full.
pub struct Table<K, V> {
    index: HashMap<K, u32>,
    slots: Vec<Option<Slot<K, V>>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    max: usize,
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    /// An empty table for at most `max` entries; at least one, at most 2³² - 2.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = max.clamp(1, NIL as usize - 1);
        Self { index: HashMap::new(), slots: Vec::new(), free: Vec::new(), oldest: NIL, newest: NIL, max }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The entry of `key`, without counting as an update.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let slot = *self.index.get(key)?;
        self.slots.get_mut(slot as usize)?.as_mut().map(|s| &mut s.value)
    }

    /// The entry of `key`, made if there is none, updated at `now`. Does not make room: see [`Self::make_room`].
    ///
    /// Returns the entry and whether it is new. `None` if the table is full.
    pub fn update(&mut self, key: K, now: Timestamp, make: impl FnOnce() -> V) -> Option<(&mut V, bool)> {
        let found = self.index.get(&key).copied();
        let id = match found {
            Some(id) => {
                self.unlink(id);
                id
            }
            None => {
                if self.len() >= self.max {
                    return None;
                }
                let slot = Some(Slot { key, value: make(), touched: now, older: NIL, newer: NIL });
                let id = match self.free.pop() {
                    Some(id) => id,
                    None => {
                        self.slots.push(None);
                        u32::try_from(self.slots.len() - 1).ok()?
                    }
                };
                *self.slots.get_mut(id as usize)? = slot;
                self.index.insert(key, id);
                id
            }
        };
        self.link_newest(id);
        let slot = self.slots.get_mut(id as usize)?.as_mut()?;
        slot.touched = now;
        Some((&mut slot.value, found.is_none()))
    }

    /// Takes out the entry that was updated least recently if an entry for `key` would not fit beside it.
    pub fn make_room(&mut self, key: &K) -> Option<(K, V)> {
        if self.len() < self.max || self.index.contains_key(key) { None } else { self.remove_oldest() }
    }

    /// Takes out the entry that was updated least recently if that was before `limit`.
    pub fn expire(&mut self, limit: Timestamp) -> Option<(K, V)> {
        let touched = self.slots.get(self.oldest as usize)?.as_ref()?.touched;
        if touched < limit { self.remove_oldest() } else { None }
    }

    /// Takes out the entry that was updated least recently.
    pub fn remove_oldest(&mut self) -> Option<(K, V)> {
        let id = self.oldest;
        if id == NIL {
            return None;
        }
        self.unlink(id);
        let slot = self.slots.get_mut(id as usize)?.take()?;
        self.index.remove(&slot.key);
        self.free.push(id);
        Some((slot.key, slot.value))
    }

    /// Drops all entries and gives their memory back.
    pub fn clear(&mut self) {
        *self = Self::new(self.max);
    }

    fn slot(&mut self, id: u32) -> Option<&mut Slot<K, V>> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    fn unlink(&mut self, id: u32) {
        let Some((older, newer)) = self.slot(id).map(|s| (s.older, s.newer)) else { return };
        match self.slot(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slot(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, id: u32) {
        let older = self.newest;
        if let Some(slot) = self.slot(id) {
            (slot.older, slot.newer) = (older, NIL);
        }
        match self.slot(older) {
            Some(slot) => slot.newer = id,
            None => self.oldest = id,
        }
        self.newest = id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn the_least_recently_updated_entry_makes_room() {
        let mut table = Table::new(2);
        for (key, secs) in [(1, 1), (2, 2), (1, 3)] {
            assert!(table.make_room(&key).is_none());
            *table.update(key, at(secs), || 0).unwrap().0 += 1;
        }
        assert!(table.update(3, at(4), || 0).is_none(), "full");
        assert_eq!(table.make_room(&1), None, "1 is there and needs no room");
        assert_eq!(table.make_room(&3), Some((2, 1)));
        assert!(table.update(3, at(4), || 0).unwrap().1);
        assert_eq!(table.expire(at(3)), None);
        assert_eq!(table.expire(at(4)), Some((1, 2)));
        assert_eq!(table.remove_oldest(), Some((3, 0)));
        assert!(table.is_empty() && table.remove_oldest().is_none());
        assert!(table.update(4, at(5), || 7).unwrap().1);
        assert_eq!(table.get_mut(&4), Some(&mut 7));
    }
}
