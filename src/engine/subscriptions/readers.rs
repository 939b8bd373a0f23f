//! Who reads under the name of a subscription.
//!
//! Each run of a subscriber has a session of its own, which goes with its commits. One run after
//! the other is as it should be. Where sessions come in turn, several read under one name at once:
//! each gets all records, and together they move one position. Both are told. Nothing is refused,
//! for a node cannot know which of them its user meant, and one that has crashed must not keep the
//! next one out.
//!
//! This is in memory only, at each replica: what is forgotten is seen again within a few commits.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    limits::{READERS_SEEN_MAX, SESSIONS_SEEN_MAX},
    model::{SessionId, SubscriberName, TopicId},
};

/// Sessions that came back after another one, until it is told: more than what a commit does that
/// was under way when its process ended.
const RETURNS_TOLD: u32 = 3;

/// How long a session that came back counts.
const RETURN_AGE_MAX: Duration = Duration::from_secs(30);

/// The sessions that read under a name.
#[derive(Debug)]
struct Reader {
    /// The newest first.
    sessions: Vec<SessionId>,
    /// When one was last seen.
    seen: Duration,
    /// How often one came back after another one, and when it last did.
    returns: u32,
    returned: Duration,
}

/// The names that are read under.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    readers: BTreeMap<(TopicId, SubscriberName), Reader>,
}

impl State {
    /// A session has read under a name; whether another one does so as well.
    pub(in crate::engine) fn note(
        &mut self,
        now: Duration,
        topic: TopicId,
        name: &SubscriberName,
        session: SessionId,
    ) -> bool {
        let key = (topic, name.clone());
        if !self.readers.contains_key(&key) && self.readers.len() >= READERS_SEEN_MAX {
            let oldest = self.readers.iter().min_by_key(|(_, reader)| reader.seen);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.readers.remove(&oldest);
            }
        }
        let new = || Reader { sessions: Vec::new(), seen: now, returns: 0, returned: now };
        let reader = self.readers.entry(key).or_insert_with(new);
        reader.seen = now;
        if now.saturating_sub(reader.returned) > RETURN_AGE_MAX {
            reader.returns = 0;
        }
        match reader.sessions.iter().position(|known| *known == session) {
            Some(0) => {}
            Some(at) => {
                reader.sessions[..=at].rotate_right(1);
                reader.returns = reader.returns.saturating_add(1);
                reader.returned = now;
            }
            None => {
                reader.sessions.insert(0, session);
                reader.sessions.truncate(SESSIONS_SEEN_MAX);
            }
        }
        reader.returns >= RETURNS_TOLD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn note(state: &mut State, at: u64, name: &str, session: u64) -> bool {
        let topic = TopicId::from_bytes([1; 32]);
        state.note(seconds(at), topic, &name.parse().unwrap(), SessionId(session))
    }

    #[test]
    fn one_run_after_the_other_is_as_it_should_be() {
        let mut state = State::default();
        for session in 0..20 {
            for second in 0..5 {
                assert!(!note(&mut state, session * 10 + second, "alice", session));
            }
        }
        // A commit of the one before may arrive late.
        assert!(!note(&mut state, 200, "alice", 18));
        assert!(!note(&mut state, 200, "alice", 19));
    }

    #[test]
    fn runs_in_turn_are_told_until_one_ends() {
        let mut state = State::default();
        let told: Vec<_> =
            [1, 2, 1, 2, 1, 2, 2].iter().map(|it| note(&mut state, 1, "alice", *it)).collect();
        assert_eq!(told, [false, false, false, false, true, true, true]);
        assert!(!note(&mut state, 1, "bob", 2), "the name is another one");
        assert!(note(&mut state, 31, "alice", 2));
        assert!(!note(&mut state, 32, "alice", 2), "the other one has ended");
    }

    #[test]
    fn three_in_turn_are_told_as_well() {
        let mut state = State::default();
        let told = (0..9).map(|at| note(&mut state, at, "alice", at % 3)).filter(|told| *told);
        assert_eq!(told.count(), 4);
    }

    #[test]
    fn memory_is_bounded() {
        let mut state = State::default();
        for number in 0..READERS_SEEN_MAX as u64 + 10 {
            note(&mut state, number, &number.to_string(), 1);
        }
        assert_eq!(state.readers.len(), READERS_SEEN_MAX);
        for session in 0..100 {
            note(&mut state, 10_000, "alice", session);
        }
        let most = state.readers.values().map(|reader| reader.sessions.len()).max();
        assert_eq!(most, Some(SESSIONS_SEEN_MAX));
    }
}
