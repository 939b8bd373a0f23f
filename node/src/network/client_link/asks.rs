//! The requests of a client's link: where each is under way, and which answers came.

use std::{collections::BTreeMap, time::Duration};

use antiphon::wire::{ClientRequest, Published, Refusal, Request, Response};
use libp2p::PeerId;

use super::{Command, patience::TIME_LEFT_MIN, unreachable};
use crate::{
    client::LinkError,
    network::{behaviour::EXCHANGE_TIMEOUT, rpc::RequestId},
};

/// The requests that have no outcome yet, and the exchanges under way for them.
#[derive(Debug, Default)]
pub(super) struct Asks {
    next: u64,
    pub(super) open: BTreeMap<u64, Ask>,
    /// Exchanges under way. One may outlive its request: a late answer still tells how long the
    /// node took.
    exchanges: BTreeMap<RequestId, Exchange>,
}

/// A request that has no outcome yet.
#[derive(Debug)]
pub(super) struct Ask {
    command: Command,
    since: Duration,
    /// Exchanges that broke.
    breaks: u32,
    /// The nodes where it is under way.
    pub(super) at: Vec<PeerId>,
    /// The nodes where it is under way, and those that refused it.
    pub(super) asked: Vec<PeerId>,
    /// The best answer so far, while a better one may come.
    pub(super) fallback: Option<Response>,
    /// When it is late; none if it cannot be.
    pub(super) late_at: Option<Duration>,
    /// Whether a second copy was sent because it was late.
    pub(super) was_late: bool,
    /// Until when it waits, because a node has too much of this client.
    pub(super) waits_until: Option<Duration>,
    /// How often it has waited for that reason.
    waits: u32,
}

/// A request on its way to a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    pub(super) ask: u64,
    pub(super) node: PeerId,
    pub(super) began: Duration,
}

/// How often the exchange of a request may break. Beyond that the request itself breaks
/// connections.
const BREAKS_MAX: u32 = 5;

/// Nodes where one request is under way at the same time.
const COPIES_MAX: usize = 3;

/// Nodes that one request is sent to while each refuses it for reasons of its own.
const ASKED_MAX: usize = 4;

/// How often a request waits until a node takes more of this client. Beyond that its asker is told.
const WAITS_MAX: u32 = 20;

/// Longest time for which it waits at a time, whatever the node says.
const WAIT_MAX: Duration = Duration::from_secs(5);

impl Asks {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes in a request.
    pub(super) fn add(&mut self, command: Command, now: Duration, late_after: Duration) {
        // Reads are answered late by design, and all else is rare; copies are waited for by
        // publishes.
        let is_publish = matches!(command.request, Request::Client(ClientRequest::Publish(_)));
        let late_at = is_publish.then_some(now + late_after);
        let ask = Ask {
            command,
            since: now,
            breaks: 0,
            at: Vec::new(),
            asked: Vec::new(),
            fallback: None,
            late_at,
            was_late: false,
            waits_until: None,
            waits: 0,
        };
        self.open.insert(self.next, ask);
        self.next += 1;
    }

    /// Forgets the requests that nobody waits for any more.
    pub(super) fn forget_abandoned(&mut self) {
        self.open.retain(|_, ask| !ask.command.answer.is_closed());
    }

    /// A request was sent to a node.
    pub(super) fn sent(&mut self, id: RequestId, ask: u64, node: PeerId, began: Duration) {
        self.exchanges.insert(id, Exchange { ask, node, began });
        if let Some(ask) = self.open.get_mut(&ask) {
            ask.at.push(node);
            ask.asked.push(node);
        }
    }

    /// An exchange has ended: which it was. The request is not under way there any more.
    pub(super) fn ended(&mut self, id: RequestId) -> Option<Exchange> {
        let exchange = self.exchanges.remove(&id)?;
        if let Some(ask) = self.open.get_mut(&exchange.ask) {
            ask.at.retain(|node| *node != exchange.node);
        }
        Some(exchange)
    }

    /// The exchanges whose time is over, in the order of their beginning.
    pub(super) fn overdue(&self, now: Duration) -> Vec<RequestId> {
        let had_its_time = |exchange: &Exchange| exchange.began + EXCHANGE_TIMEOUT <= now;
        let overdue = self.exchanges.iter().take_while(|(_, exchange)| had_its_time(exchange));
        overdue.map(|(id, _)| *id).collect()
    }

    /// A node is lost, and with it the exchanges that were under way there.
    pub(super) fn lost(&mut self, node: &PeerId) -> Vec<RequestId> {
        let there = self.exchanges.iter().filter(|(_, exchange)| exchange.node == *node);
        there.map(|(id, _)| *id).collect()
    }

    /// An exchange broke: the request may go to the same node again, but not too often.
    pub(super) fn broke(&mut self, Exchange { ask: name, node, .. }: Exchange, cause: &str) {
        let Some(ask) = self.open.get_mut(&name) else { return };
        ask.asked.retain(|asked| *asked != node);
        // It may have been carried out there: that another node refused it is not the whole truth
        // any more.
        ask.fallback.take_if(|fallback| matches!(fallback, Response::Refused(_)));
        ask.breaks += 1;
        if ask.breaks >= BREAKS_MAX && ask.at.is_empty() {
            self.fail(name, LinkError::Unreachable(cause.to_owned()));
        }
    }

    /// No node will be reached any more: no request gets an answer.
    pub(super) fn give_up(&mut self, causes: &[String]) {
        for name in self.open.keys().copied().collect::<Vec<_>>() {
            let Some(ask) = self.open.get(&name) else { continue };
            let error = unreachable(causes, ask.command.passage.is_sent());
            self.fail(name, error);
        }
    }

    /// A request has its outcome.
    pub(super) fn settle(&mut self, ask: u64, response: Response) -> Option<Ask> {
        self.finish(ask, Ok(response))
    }

    /// A request is sent to no other node: it gets the best answer so far.
    pub(super) fn fall_back(&mut self, name: u64) {
        let fallback = self.open.get_mut(&name).and_then(|ask| ask.fallback.take());
        if let Some(response) = fallback {
            self.settle(name, response);
        }
    }

    /// A request gets no answer, unless it is still under way elsewhere or had one already.
    pub(super) fn fail(&mut self, name: u64, error: LinkError) {
        let Some(ask) = self.open.get_mut(&name) else { return };
        if ask.at.is_empty() {
            let result = ask.fallback.take().ok_or(error);
            self.finish(name, result);
        }
    }

    fn finish(&mut self, name: u64, result: Result<Response, LinkError>) -> Option<Ask> {
        let mut ask = self.open.remove(&name)?;
        let (nobody, _) = tokio::sync::oneshot::channel();
        // It fails if whoever asked has given up.
        let _ = std::mem::replace(&mut ask.command.answer, nobody).send(result);
        Some(ask)
    }
}

impl Ask {
    /// Whether it should be sent to one more node.
    pub(super) fn wants_node(&self, is_silent: impl Fn(&PeerId) -> bool, now: Duration) -> bool {
        if self.waits_until.is_some_and(|until| until > now) {
            return false;
        }
        let in_vain = self.at.iter().all(is_silent) || self.is_late(now);
        in_vain && self.at.len() < COPIES_MAX && self.may_go_on()
    }

    /// A node has too much of this client. It is asked again after a while, and others are not:
    /// they would have too much as well. Whether the request waits.
    pub(super) fn wait(&mut self, node: &PeerId, retry_after_ms: u32, now: Duration) -> bool {
        if self.waits >= WAITS_MAX {
            return false;
        }
        self.waits += 1;
        self.asked.retain(|asked| asked != node);
        let pause = Duration::from_millis(u64::from(retry_after_ms)).min(WAIT_MAX);
        self.waits_until = Some(now + pause);
        true
    }

    /// Whether it may be sent to one more node.
    pub(super) fn may_go_on(&self) -> bool {
        self.asked.len() < ASKED_MAX
    }

    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.late_at.is_some_and(|late_at| late_at <= now)
    }

    /// The request as it is sent now, unless its asker has withdrawn it. A repeated request has
    /// only the rest of its time.
    pub(super) fn to_request(&self, now: Duration) -> Option<Request> {
        if !self.command.passage.open() {
            return None;
        }
        let mut request = self.command.request.clone();
        if let Request::Client(ClientRequest::Publish(publish)) = &mut request {
            let whole = Duration::from_millis(u64::from(publish.timeout_ms));
            let left = whole.saturating_sub(now.saturating_sub(self.since));
            let left = left.max(TIME_LEFT_MIN).min(whole);
            publish.timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            publish.retried |= self.may_be_there();
        }
        Some(request)
    }

    /// Whether a node may have carried it out, or does so now.
    fn may_be_there(&self) -> bool {
        let stored = matches!(self.fallback, Some(Response::Published(_)));
        stored || self.breaks > 0 || !self.at.is_empty()
    }

    /// Keeps an answer while a better one may come.
    pub(super) fn keep(&mut self, response: Response) {
        // Records that are stored and not yet copied are more than a refusal, and the first
        // refusal says more than those that follow from it.
        let better = match (&self.fallback, &response) {
            (None, _) => true,
            (Some(Response::Refused(_)), response) => !matches!(response, Response::Refused(_)),
            (Some(_), _) => false,
        };
        if better {
            self.fallback = Some(response);
        }
    }
}

/// Whether an answer is final; otherwise another node may give a better one.
pub(super) fn is_success(response: &Response) -> bool {
    !matches!(
        response,
        Response::Refused(_) | Response::Published(Published { acknowledged: false, .. })
    )
}

/// Whether a refusal concerns that node only, so that another one may accept.
pub(super) fn is_of_the_node(response: &Response) -> bool {
    matches!(
        response,
        Response::Refused(
            Refusal::Busy | Refusal::OverBudget { .. } | Refusal::Stopping(_) | Refusal::Full(_)
        )
    )
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::{self, Receiver};

    use super::{super::Passage, *};

    type Outcome = Receiver<Result<Response, LinkError>>;

    fn exchange(node: PeerId) -> Exchange {
        Exchange { ask: 0, node, began: Duration::ZERO }
    }

    /// One request, under way at these nodes.
    fn asked(nodes: &[PeerId]) -> (Asks, Outcome) {
        let (answer, outcome) = oneshot::channel();
        let command = Command {
            request: Request::Client(ClientRequest::Peers),
            answer,
            passage: Passage::default(),
        };
        let mut asks = Asks::default();
        asks.add(command, Duration::ZERO, Duration::ZERO);
        let ask = asks.open.get_mut(&0).unwrap();
        ask.at.extend(nodes);
        ask.asked.extend(nodes);
        (asks, outcome)
    }

    #[test]
    fn the_best_answer_is_kept() {
        let full = Response::Refused(Refusal::Full(None));
        let pending = Published {
            acknowledged: false,
            copies: 1,
            stand_ins: 0,
            replicas: 3,
            wanted: 2,
            ..Published::default()
        };
        let (mut asks, mut outcome) = asked(&[]);
        let ask = asks.open.get_mut(&0).unwrap();
        ask.keep(full.clone());
        ask.keep(Response::Refused(Refusal::Busy));
        assert_eq!(ask.fallback, Some(full.clone()));
        ask.keep(Response::Published(pending));
        ask.keep(full);
        asks.fall_back(0);
        assert_eq!(outcome.try_recv().unwrap(), Ok(Response::Published(pending)));
    }

    #[test]
    fn a_refusal_is_not_told_of_what_may_have_been_carried_out_elsewhere() {
        let node = PeerId::random();
        let (mut asks, mut outcome) = asked(&[node]);
        asks.open.get_mut(&0).unwrap().keep(Response::Refused(Refusal::Full(None)));
        asks.broke(exchange(node), "it broke");
        asks.fall_back(0);
        assert!(outcome.try_recv().is_err(), "it goes on");
        assert!(asks.open[&0].asked.is_empty(), "at the same node, too");
    }

    /// Whether a publish that is sent to one more node now says that it may be there.
    fn says_that_it_may_be_there(so_far: impl FnOnce(&mut Asks)) -> bool {
        let publish = antiphon::wire::Publish {
            topic: "t".parse().unwrap(),
            producer: antiphon::model::ProducerId([1; 16]),
            first: 0,
            records: antiphon::model::Blob::default(),
            acks: antiphon::wire::Acks::Quorum,
            timeout_ms: 1_000,
            retried: false,
        };
        let (mut asks, _outcome) = asked(&[]);
        asks.open.get_mut(&0).unwrap().command.request =
            Request::Client(ClientRequest::Publish(publish));
        so_far(&mut asks);
        match asks.open[&0].to_request(Duration::ZERO) {
            Some(Request::Client(ClientRequest::Publish(publish))) => publish.retried,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_publish_says_that_it_may_be_there_where_a_node_may_have_stored_it() {
        let node = PeerId::random();
        assert!(!says_that_it_may_be_there(|_| {}));
        let is_under_way = |asks: &mut Asks| asks.open.get_mut(&0).unwrap().at.push(node);
        assert!(says_that_it_may_be_there(is_under_way));
        assert!(says_that_it_may_be_there(|asks| asks.broke(exchange(node), "it broke")));
        let kept = |response| move |asks: &mut Asks| asks.open.get_mut(&0).unwrap().keep(response);
        let pending = Published { copies: 1, replicas: 3, wanted: 2, ..Published::default() };
        assert!(says_that_it_may_be_there(kept(Response::Published(pending))));
        assert!(!says_that_it_may_be_there(kept(Response::Refused(Refusal::Busy))));
    }

    #[test]
    fn who_has_too_much_under_way_asks_the_same_node_again_later() {
        let node = PeerId::random();
        let (mut asks, _outcome) = asked(&[]);
        let ask = asks.open.get_mut(&0).unwrap();
        for wait in 0..WAITS_MAX {
            let now = Duration::from_secs(u64::from(wait));
            ask.asked.push(node);
            assert!(ask.wait(&node, 100, now), "wait {wait}");
            assert!(ask.asked.is_empty() && !ask.wants_node(|_| false, now));
            assert!(ask.wants_node(|_| false, now + Duration::from_millis(100)));
        }
        assert!(!ask.wait(&node, 100, Duration::ZERO), "not for ever");
    }

    #[test]
    fn what_breaks_connections_is_given_up() {
        let node = PeerId::random();
        let (mut asks, mut outcome) = asked(&[]);
        (0..BREAKS_MAX).for_each(|_| asks.broke(exchange(node), "it broke"));
        let unreachable = LinkError::Unreachable("it broke".to_owned());
        assert_eq!(outcome.try_recv().unwrap(), Err(unreachable));
        assert_eq!(asks.len(), 0);
    }

    #[test]
    fn a_request_that_was_withdrawn_is_not_sent() {
        let (asks, _outcome) = asked(&[]);
        let passage = asks.open[&0].command.passage.clone();
        passage.close();
        assert_eq!((asks.open[&0].to_request(Duration::ZERO), passage.is_sent()), (None, false));
        let (asks, _outcome) = asked(&[]);
        let passage = asks.open[&0].command.passage.clone();
        assert!(asks.open[&0].to_request(Duration::ZERO).is_some());
        passage.close();
        assert!(passage.is_sent(), "too late");
        assert!(asks.open[&0].to_request(Duration::ZERO).is_some(), "to another node");
    }
}
