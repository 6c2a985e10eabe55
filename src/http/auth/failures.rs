//! How often an address may fail to authenticate.
//!
//! Guarantees: at most [`MOST`] addresses are remembered; who comes with a good credential is not
//! asked, so that nobody is limited by others' failures.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered. The rest share what one of them has.
const MOST: usize = 10_000;

/// What one failure costs: in the long run, an address may fail once in so long.
const COST: Duration = Duration::from_secs(1);

/// What may be owed: 60 failures at once, after a rest. More than a sender's whose token is mistyped.
const CREDIT: Duration = Duration::from_secs(60);

/// How often those who owe nothing any more are looked for when there is no room.
const SWEEP: Duration = Duration::from_secs(1);

/// Who failed lately.
#[derive(Default)]
pub(in crate::http) struct Failures(Mutex<Ledger>);

#[derive(Default)]
struct Ledger {
    /// When each will owe nothing any more.
    paid_at: HashMap<IpAddr, Instant>,
    rest_paid_at: Option<Instant>,
    swept_at: Option<Instant>,
}

impl Failures {
    /// Counts one more.
    ///
    /// # Errors
    /// It is one too many: how long until there could be another.
    pub(in crate::http) fn count(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.count(address.map(network), Instant::now())
    }
}

impl Ledger {
    fn count(&mut self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let Some(address) = address.filter(|address| self.has_room_for(address, now)) else {
            return charge(self.rest_paid_at.get_or_insert(now), now);
        };
        charge(self.paid_at.entry(address).or_insert(now), now)
    }

    fn has_room_for(&mut self, address: &IpAddr, now: Instant) -> bool {
        let is_full =
            |ledger: &Self| ledger.paid_at.len() >= MOST && !ledger.paid_at.contains_key(address);
        if is_full(self) && self.swept_at.is_none_or(|swept| swept + SWEEP <= now) {
            self.swept_at = Some(now);
            self.paid_at.retain(|_, paid_at| *paid_at > now);
        }
        !is_full(self)
    }
}

/// Adds the cost of one failure to what is owed, if the credit allows that.
fn charge(paid_at: &mut Instant, now: Instant) -> Result<(), Duration> {
    let owed = paid_at.saturating_duration_since(now) + COST;
    match owed.checked_sub(CREDIT) {
        None | Some(Duration::ZERO) => {
            *paid_at = now + owed;
            Ok(())
        }
        Some(over) => Err(over),
    }
}

/// One network of IPv6 is one customer: its addresses are too many to be told apart.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> Option<IpAddr> {
        let number = u32::try_from(number).expect("it is small");
        Some(IpAddr::from(number.to_be_bytes()))
    }

    fn passed(ledger: &mut Ledger, address: Option<IpAddr>, now: Instant, times: usize) -> usize {
        (0..times)
            .filter(|_| ledger.count(address, now).is_ok())
            .count()
    }

    #[test]
    fn an_address_may_fail_its_burst_and_no_other_pays_for_it() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        assert_eq!(passed(&mut ledger, address(1), now, 200), 60);
        assert_eq!(passed(&mut ledger, address(2), now, 200), 60);
        assert_eq!(passed(&mut ledger, None, now, 200), 60);
        assert_eq!(ledger.count(address(1), now), Err(COST));
        let half = now + Duration::from_millis(500);
        assert_eq!(ledger.count(address(1), half), Err(COST / 2));
        assert_eq!(passed(&mut ledger, address(1), now + 5 * COST, 200), 5);
        assert_eq!(passed(&mut ledger, address(1), now + 2 * CREDIT, 200), 60);
    }

    #[test]
    fn no_more_than_so_many_addresses_are_remembered() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for number in 0..MOST {
            assert_eq!(passed(&mut ledger, address(number), now, 2), 2);
        }
        let failed: usize = (MOST..MOST + 100)
            .map(|number| passed(&mut ledger, address(number), now, 1))
            .sum();
        assert_eq!(
            (ledger.paid_at.len(), failed),
            (MOST, 60),
            "the rest share one limit"
        );
        assert_eq!(
            passed(&mut ledger, address(5), now, 200),
            58,
            "who is remembered has its own"
        );
        let later = now + 2 * COST;
        assert_eq!(passed(&mut ledger, address(MOST), later, 1), 1);
        assert_eq!(ledger.paid_at.len(), 2, "who owes nothing is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().expect("the tests use addresses"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
