//! Connections that are being set up: who is let in, and who is cut off to make room.
//!
//! A handshake takes some milliseconds, so those that have waited for longest are the ones that
//! will never end. The source that has most of them loses the oldest.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
    },
};

use super::{
    limits::{
        HANDSHAKE_TIME_WHEN_FULL, HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX,
        HANDSHAKES_PER_MACHINE_MAX,
    },
    recall::Recall,
    source::{Counts, Source},
};
use crate::platform::clock::Clock;

/// A connection that is secured.
type Secured = (PeerId, StreamMuxerBox);

type Upgrade = <Boxed<Secured> as Transport>::ListenerUpgrade;

/// A transport that bounds the handshakes under way.
pub(super) struct Lobby {
    inner: Boxed<Secured>,
    guests: Arc<Mutex<Guests>>,
    clock: Clock,
}

impl Lobby {
    pub(super) fn over(inner: Boxed<Secured>) -> Self {
        Self { inner, guests: Arc::default(), clock: Clock::start() }
    }
}

/// The handshakes under way, in the order of their beginning.
#[derive(Debug, Default)]
struct Guests {
    next: u64,
    waiting: BTreeMap<u64, Guest>,
    counts: Counts,
}

#[derive(Debug)]
struct Guest {
    source: Source,
    since: Duration,
    recall: Arc<Recall>,
}

impl Guests {
    /// Takes one in, and cuts others off for it.
    fn enter(&mut self, source: Source, now: Duration) -> (u64, Arc<Recall>) {
        if self.waiting.len() >= HANDSHAKES_MAX / 2 {
            self.cut_off_late(now);
        }
        let most = source.limit(HANDSHAKES_PER_ADDRESS_MAX, HANDSHAKES_PER_MACHINE_MAX);
        if self.counts.of(source) >= most {
            self.cut_off_oldest(source);
        } else if self.waiting.len() >= HANDSHAKES_MAX
            && let Some(heaviest) = self.counts.heaviest()
        {
            self.cut_off_oldest(heaviest);
        }
        let number = self.next;
        self.next += 1;
        let recall = Arc::<Recall>::default();
        let guest = Guest { source, since: now, recall: Arc::clone(&recall) };
        self.waiting.insert(number, guest);
        self.counts.add(source);
        (number, recall)
    }

    fn cut_off_late(&mut self, now: Duration) {
        while let Some(first) = self.waiting.first_entry()
            && now.saturating_sub(first.get().since) > HANDSHAKE_TIME_WHEN_FULL
        {
            let number = *first.key();
            self.cut_off(number);
        }
    }

    fn cut_off_oldest(&mut self, source: Source) {
        let oldest = self.waiting.iter().find(|(_, guest)| guest.source == source);
        if let Some(number) = oldest.map(|(number, _)| *number) {
            self.cut_off(number);
        }
    }

    fn cut_off(&mut self, number: u64) {
        if let Some(guest) = self.leave(number) {
            guest.recall.recall();
        }
    }

    fn leave(&mut self, number: u64) -> Option<Guest> {
        let guest = self.waiting.remove(&number)?;
        self.counts.remove(guest.source);
        Some(guest)
    }
}

fn locked(guests: &Mutex<Guests>) -> MutexGuard<'_, Guests> {
    guests.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handshake with its place.
pub(super) struct Handshake {
    upgrade: Upgrade,
    number: u64,
    recall: Arc<Recall>,
    guests: Arc<Mutex<Guests>>,
}

impl Future for Handshake {
    type Output = io::Result<Secured>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.recall.poll(context) {
            let why = "the handshake took too long while others waited";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        Pin::new(&mut self.upgrade).poll(context)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        locked(&self.guests).leave(self.number);
    }
}

impl Transport for Lobby {
    type Output = Secured;
    type Error = io::Error;
    type ListenerUpgrade = Handshake;
    type Dial = <Boxed<Secured> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = std::task::ready!(Pin::new(&mut self.inner).poll(context));
        let TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } = event
        else {
            return Poll::Ready(
                event.map_upgrade(|_| unreachable!("it is no incoming connection")),
            );
        };
        let source = Source::of(&local_addr, &send_back_addr);
        let now = self.clock.now().elapsed;
        let (number, recall) = locked(&self.guests).enter(source, now);
        let guests = Arc::clone(&self.guests);
        let upgrade = Handshake { upgrade, number, recall, guests };
        Poll::Ready(TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_source_with_most_makes_room() {
        let mut guests = Guests::default();
        let address = |last| Source::Address([10, 0, 0, last]);
        let at = Duration::ZERO;
        let (_, first) = guests.enter(address(1), at);
        let (_, honest) = guests.enter(address(2), at);
        for _ in 0..HANDSHAKES_PER_ADDRESS_MAX {
            guests.enter(address(1), at);
        }
        assert!(first.is_recalled() && !honest.is_recalled());
        assert_eq!(guests.waiting.len(), HANDSHAKES_PER_ADDRESS_MAX + 1);
        for last in 3..=255 {
            (0..HANDSHAKES_PER_ADDRESS_MAX).for_each(|_| drop(guests.enter(address(last), at)));
        }
        assert_eq!(guests.waiting.len(), HANDSHAKES_MAX);
        assert!(!honest.is_recalled(), "it is the only one of its address");
        let mine: Vec<_> = (0..2 * HANDSHAKES_PER_MACHINE_MAX)
            .map(|_| guests.enter(Source::Machine, at).1)
            .collect();
        assert!(!honest.is_recalled());
        let cut_off = mine.iter().filter(|recall| recall.is_recalled()).count();
        assert!(cut_off >= HANDSHAKES_PER_MACHINE_MAX);
        assert!(mine.iter().take(cut_off).all(|recall| recall.is_recalled()), "the oldest");
    }

    #[test]
    fn handshakes_have_less_time_when_many_wait() {
        let mut guests = Guests::default();
        let late = HANDSHAKE_TIME_WHEN_FULL + Duration::from_millis(1);
        let (number, first) = guests.enter(Source::Machine, Duration::ZERO);
        let (_, second) = guests.enter(Source::Machine, late);
        assert!(!first.is_recalled(), "few wait");
        for last in 0..=255 {
            guests.enter(Source::Address([10, 0, 1, last]), late);
        }
        assert!(first.is_recalled() && !second.is_recalled());
        assert!(guests.leave(number).is_none());
    }
}
