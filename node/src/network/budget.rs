//! Bytes that peers make this node keep: one budget for all peers, and a share for each.
//!
//! Each stream has an account. When the budget is used up, the account that has not got on for
//! longest loses what it holds, and its stream is cut off. So who sends half a frame, or does not
//! read, makes room for those who do not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
    time::Duration,
};

use libp2p::PeerId;

use super::{limits::STALLED_AFTER, recall::Recall};
use crate::platform::clock::Clock;

/// A budget of bytes.
#[derive(Clone)]
pub(super) struct Budget(Arc<Shared>);

struct Shared {
    bytes_max: usize,
    share_max: usize,
    clock: Clock,
    books: Mutex<Books>,
}

/// Who holds how much.
#[derive(Default)]
struct Books {
    bytes: usize,
    shares: BTreeMap<PeerId, usize>,
    /// The accounts that hold something, in the order in which they last got on.
    accounts: BTreeMap<u64, Entry>,
    next: u64,
}

struct Entry {
    peer: PeerId,
    bytes: usize,
    got_on: Duration,
    recall: Arc<Recall>,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// The peer has its share.
    Share,
    /// All have too much together, and all of them get on.
    All,
}

impl Budget {
    pub(super) fn new(bytes_max: usize, share_max: usize) -> Self {
        let (clock, books) = (Clock::start(), Mutex::default());
        Self(Arc::new(Shared { bytes_max, share_max, clock, books }))
    }

    /// An account that holds nothing yet.
    pub(super) fn open(&self, peer: PeerId) -> Account {
        Account { budget: self.clone(), peer, number: None, bytes: 0, recall: Arc::default() }
    }

    /// Bytes for what is soon in an account of a stream, or gone.
    ///
    /// # Errors
    /// When there is no room for them.
    pub(super) fn lend(&self, peer: PeerId, bytes: usize) -> Result<Option<Loan>, Short> {
        let mut account = self.open(peer);
        account.take(bytes)?;
        Ok(account.hand_on())
    }

    /// How much a peer holds, in bytes.
    pub(super) fn share_of(&self, peer: &PeerId) -> usize {
        self.books().shares.get(peer).copied().unwrap_or(0)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.0.clock.now().elapsed
    }
}

impl Books {
    /// Makes room by taking it from those who do not get on; whether there is enough.
    fn make_room(&mut self, bytes: usize, max: usize, but: Option<u64>, now: Duration) -> bool {
        while self.bytes + bytes > max {
            let stalled = |entry: &Entry| now.saturating_sub(entry.got_on) >= STALLED_AFTER;
            let mut accounts = self.accounts.iter();
            let longest = accounts.find(|(number, _)| Some(**number) != but);
            let Some((number, _)) = longest.filter(|(_, entry)| stalled(entry)) else {
                return false;
            };
            let number = *number;
            if let Some(entry) = self.accounts.remove(&number) {
                self.give_back(&entry.peer, entry.bytes);
                entry.recall.recall();
            }
        }
        true
    }

    fn give_back(&mut self, peer: &PeerId, bytes: usize) {
        self.bytes -= bytes;
        if let Some(share) = self.shares.get_mut(peer) {
            *share -= bytes;
            if *share == 0 {
                self.shares.remove(peer);
            }
        }
    }
}

/// What one stream holds.
pub(super) struct Account {
    budget: Budget,
    peer: PeerId,
    /// Its place in the books; none while it holds nothing.
    number: Option<u64>,
    bytes: usize,
    recall: Arc<Recall>,
}

impl Account {
    /// Takes these many bytes more.
    ///
    /// # Errors
    /// When there is no room for them.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Short> {
        let (max, share_max) = (self.budget.0.bytes_max, self.budget.0.share_max);
        let now = self.budget.now();
        let mut books = self.budget.books();
        if books.shares.get(&self.peer).copied().unwrap_or(0) + bytes > share_max {
            return Err(Short::Share);
        }
        if !books.make_room(bytes, max, self.number, now) {
            return Err(Short::All);
        }
        if let Some(entry) = self.number.and_then(|number| books.accounts.get_mut(&number)) {
            entry.bytes += bytes;
        } else if self.recall.is_recalled() {
            return Err(Short::All);
        } else {
            let number = books.next;
            books.next += 1;
            let (peer, recall) = (self.peer, Arc::clone(&self.recall));
            books.accounts.insert(number, Entry { peer, bytes, got_on: now, recall });
            self.number = Some(number);
        }
        books.bytes += bytes;
        *books.shares.entry(self.peer).or_default() += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives these many bytes back.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let Some(number) = self.number else { return };
        let mut books = self.budget.books();
        // One that was recalled has given everything back.
        let Some(entry) = books.accounts.get_mut(&number) else { return };
        let bytes = bytes.min(entry.bytes);
        entry.bytes -= bytes;
        if entry.bytes == 0 {
            books.accounts.remove(&number);
            self.number = None;
        }
        books.give_back(&self.peer, bytes);
    }

    /// It got on: others come first when room is needed.
    pub(super) fn got_on(&mut self) {
        let Some(number) = self.number else { return };
        let now = self.budget.now();
        let mut books = self.budget.books();
        if let Some(mut entry) = books.accounts.remove(&number) {
            entry.got_on = now;
            let number = books.next;
            books.next += 1;
            books.accounts.insert(number, entry);
            self.number = Some(number);
        }
    }

    /// Whether it lost what it held. If not, the task is woken up when it does.
    pub(super) fn poll_recalled(&self, context: &Context<'_>) -> bool {
        self.recall.poll(context)
    }

    /// What it holds from now on is held by somebody who gives it back soon, and cannot lose it.
    pub(super) fn hand_on(&mut self) -> Option<Loan> {
        let number = self.number.take()?;
        let entry = self.budget.books().accounts.remove(&number)?;
        self.bytes = 0;
        Some(Loan { budget: self.budget.clone(), peer: self.peer, bytes: entry.bytes })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// Bytes that are held until this is dropped.
pub(super) struct Loan {
    budget: Budget,
    peer: PeerId,
    bytes: usize,
}

impl std::fmt::Debug for Loan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Loan").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.budget.books().give_back(&self.peer, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;

    fn is_recalled(account: &Account) -> bool {
        account.poll_recalled(&Context::from_waker(noop_waker_ref()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_stalled_for_longest_makes_room() {
        let budget = Budget::new(100, 60);
        let mut first = budget.open(PeerId::random());
        let mut second = budget.open(PeerId::random());
        let mut third = budget.open(PeerId::random());
        first.take(50).unwrap();
        second.take(50).unwrap();
        assert_eq!(third.take(10), Err(Short::All), "both have only begun");
        tokio::time::advance(STALLED_AFTER).await;
        first.got_on();
        third.take(10).unwrap();
        assert!(!is_recalled(&first) && is_recalled(&second), "one of them got on");
        assert_eq!(second.take(1), Err(Short::All), "it is cut off");
        assert_eq!(third.take(50), Err(Short::All), "nobody else has stalled");
        drop((first, second));
        third.take(50).unwrap();
        assert_eq!(budget.books().bytes, 60);
        drop(third);
        let books = budget.books();
        assert_eq!((books.bytes, books.shares.len()), (0, 0));
    }

    #[tokio::test]
    async fn nobody_takes_more_than_a_share() {
        let budget = Budget::new(100, 60);
        let (peer, other) = (PeerId::random(), PeerId::random());
        let (mut one, mut two) = (budget.open(peer), budget.open(peer));
        one.take(40).unwrap();
        assert_eq!(two.take(30), Err(Short::Share));
        assert_eq!(budget.share_of(&peer), 40);
        budget.open(other).take(60).unwrap();
        one.give_back(20);
        two.take(30).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_handed_on_is_not_taken_back() {
        let budget = Budget::new(100, 100);
        let mut one = budget.open(PeerId::random());
        one.take(80).unwrap();
        let loan = one.hand_on().unwrap();
        tokio::time::advance(STALLED_AFTER).await;
        let mut other = budget.open(PeerId::random());
        assert_eq!(other.take(30), Err(Short::All));
        one.take(20).unwrap();
        drop(one);
        drop(loan);
        other.take(100).unwrap();
    }
}
