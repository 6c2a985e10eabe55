//! Chooses which client without credentials is evicted when a limit is reached: whose connection is closed, or whose
//! request is refused and its body discarded.
//!
//! Candidates are divided by age into a newer and an older part. The newer part weighs no more than the older one,
//! unless it is a single candidate.
//!
//! Guarantees: a candidate of the newer part is chosen only if the older part is empty. Of the older part, the oldest
//! candidate of the address with the most weight is chosen; if several addresses have the same weight, the oldest
//! candidate of all of these. So a client that finishes quickly is not evicted, however many addresses the others have;
//! and an address that sends very many requests evicts only its own.
//! Not responsible for: when a limit is reached, and how the chosen candidate is evicted (`connections`, `limits`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// The candidates for one limit. Ids increase with time, so that the oldest candidate has the lowest id.
#[derive(Default)]
pub(super) struct Candidates {
    /// The newer part, by id.
    newer: BTreeMap<u64, Candidate>,
    newer_weight: usize,
    /// The older part, by address.
    older: HashMap<IpAddr, Group>,
    older_weight: usize,
    /// The addresses of the older part, sorted by their weight and, within the same weight, by the age of their oldest
    /// candidate. The last one is evicted from first.
    by_weight: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
}

/// One candidate.
#[derive(Clone, Copy)]
struct Candidate {
    address: IpAddr,
    /// How much of the limit it takes up.
    weight: usize,
}

/// The older candidates of one address.
#[derive(Default)]
struct Group {
    members: BTreeMap<u64, Candidate>,
    weight: usize,
}

impl Candidates {
    /// Adds a candidate, or adds to the weight of a candidate with the same id.
    pub(super) fn add(&mut self, id: u64, address: IpAddr, weight: usize) {
        let group = self.older.get(&address);
        if group.is_some_and(|group| group.members.contains_key(&id)) {
            self.add_to_older(id, address, weight);
        } else {
            let candidate = self.newer.entry(id);
            candidate.or_insert(Candidate { address, weight: 0 }).weight += weight;
            self.newer_weight += weight;
        }
        self.balance();
    }

    /// Removes a candidate, and returns its weight. Returns 0 if there is no such candidate.
    pub(super) fn remove(&mut self, id: u64, address: IpAddr) -> usize {
        let weight = match self.newer.remove(&id) {
            Some(candidate) => {
                self.newer_weight -= candidate.weight;
                candidate.weight
            }
            None => self.remove_from_older(id, address),
        };
        self.balance();
        weight
    }

    /// The next candidates to evict, in their order. These are only the ones of the heaviest address of the older part;
    /// the iterator is empty only if there are no candidates at all.
    pub(super) fn eviction_order(&self) -> impl Iterator<Item = (u64, IpAddr)> {
        let members = match self.by_weight.last() {
            Some((_, _, address)) => &self.older[address].members,
            None => &self.newer,
        };
        let members = members.iter();
        members.map(|(&id, candidate)| (id, candidate.address))
    }

    /// The weight of all candidates.
    pub(super) const fn weight(&self) -> usize {
        self.newer_weight + self.older_weight
    }

    /// Moves the oldest candidates of the newer part to the older part, until the newer part weighs no more than the
    /// older one or is a single candidate.
    fn balance(&mut self) {
        while self.newer_weight > self.older_weight
            && self.newer.len() > 1
            && let Some((id, Candidate { address, weight })) = self.newer.pop_first()
        {
            self.newer_weight -= weight;
            self.add_to_older(id, address, weight);
        }
    }

    fn add_to_older(&mut self, id: u64, address: IpAddr, weight: usize) {
        self.older_weight += weight;
        self.change_group(address, |group| {
            let candidate = group.members.entry(id);
            candidate.or_insert(Candidate { address, weight: 0 }).weight += weight;
            group.weight += weight;
        });
    }

    fn remove_from_older(&mut self, id: u64, address: IpAddr) -> usize {
        let weight = self.change_group(address, |group| {
            let weight = group
                .members
                .remove(&id)
                .map_or(0, |removed| removed.weight);
            group.weight -= weight;
            weight
        });
        self.older_weight -= weight;
        weight
    }

    /// Changes the older candidates of an address, and keeps `by_weight` consistent with them.
    fn change_group<T>(&mut self, address: IpAddr, change: impl FnOnce(&mut Group) -> T) -> T {
        let place = |group: &Group| {
            let oldest = group.members.first_key_value()?.0;
            Some((group.weight, Reverse(*oldest), address))
        };
        let group = self.older.entry(address).or_default();
        if let Some(place) = place(group) {
            self.by_weight.remove(&place);
        }
        let changed = change(group);
        match place(group) {
            Some(place) => _ = self.by_weight.insert(place),
            None => _ = self.older.remove(&address),
        }
        changed
    }
}

/// Returns the address that identifies a client. All addresses of an IPv6 /64 network are one client, since a client
/// usually has such a network for itself.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// Candidates with these addresses and weights, sorted from old to new.
    fn candidates(all: &[(u8, usize)]) -> Candidates {
        let mut candidates = Candidates::default();
        for (id, (number, weight)) in (0..).zip(all) {
            candidates.add(id, address(*number), *weight);
        }
        candidates
    }

    /// The ids of all candidates, in the order in which they are evicted.
    fn order(mut candidates: Candidates) -> Vec<u64> {
        std::iter::from_fn(|| {
            let (id, address) = candidates.eviction_order().next()?;
            candidates.remove(id, address);
            Some(id)
        })
        .collect()
    }

    #[test]
    fn of_the_older_half_the_oldest_of_the_heaviest_address_is_the_first() {
        let by_number = candidates(&[(1, 1), (2, 1), (2, 1), (3, 1), (3, 1), (1, 1), (4, 1)]);
        // The first four are the older part. As they are removed, the fifth and the sixth move there.
        assert_eq!(order(by_number), [1, 0, 3, 2, 4, 5, 6]);
        let by_weight = candidates(&[(1, 10), (2, 25), (1, 10), (3, 15), (3, 15)]);
        assert_eq!(by_weight.eviction_order().next(), Some((1, address(2))));
    }

    #[test]
    fn the_newer_half_stays_though_its_address_has_the_most() {
        let many = candidates(&[(1, 1), (2, 1), (3, 1), (9, 1), (9, 1), (9, 1)]);
        assert_eq!(order(many), [0, 1, 2, 3, 4, 5]);
        let large = candidates(&[(1, 60), (2, 60), (3, 60), (9, 150)]);
        assert_eq!(large.eviction_order().next(), Some((0, address(1))));
    }

    #[test]
    fn the_newest_is_the_last_also_where_it_weighs_more_than_all_others() {
        assert_eq!(order(candidates(&[(1, 1), (2, 1), (3, 100)])), [0, 1, 2]);
        assert_eq!(order(candidates(&[(1, 1)])), [0]);
        assert_eq!(order(candidates(&[])), [0; 0]);
    }

    #[test]
    fn one_address_displaces_its_own_however_many_it_sends() {
        let mut candidates = candidates(&[(1, 1), (2, 1), (2, 1), (2, 1), (2, 1), (2, 1)]);
        for id in 6..10_000 {
            let (first, address_of_first) =
                candidates.eviction_order().next().expect("there are six");
            assert_eq!(address_of_first, address(2));
            candidates.remove(first, address_of_first);
            candidates.add(id, address(2), 1);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| network(text.parse().expect("the tests use addresses"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    proptest! {
        #[test]
        fn weights_add_up_and_halves_are_halves_whatever_comes_and_goes(
            steps in prop::collection::vec((0..30_u64, 0..4_u8, 0..100_usize, any::<bool>()), 0..200),
        ) {
            let mut candidates = Candidates::default();
            let mut model: BTreeMap<u64, (u8, usize)> = BTreeMap::new();
            for (id, number, weight, is_added) in steps {
                if is_added {
                    let (number, sum) = model.entry(id).or_insert((number, 0));
                    *sum += weight;
                    candidates.add(id, address(*number), weight);
                } else {
                    let (number, sum) = model.remove(&id).unwrap_or((number, 0));
                    prop_assert_eq!(candidates.remove(id, address(number)), sum);
                }
                let sum: usize = model.values().map(|(_, weight)| weight).sum();
                prop_assert_eq!(candidates.weight(), sum);
                prop_assert!(candidates.newer.len() <= 1 || candidates.newer_weight <= candidates.older_weight);
                prop_assert_eq!(candidates.by_weight.len(), candidates.older.len());
            }
            let mut left = order(candidates);
            left.sort_unstable();
            prop_assert_eq!(left, model.into_keys().collect::<Vec<_>>());
        }
    }
}
