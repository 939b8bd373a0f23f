//! Proof of what a node says that it holds: it shows the records, and this node keeps a copy.

use super::holds;
use crate::{
    engine::{
        Engine, holdings::log::Added, ids::SearchId, inflight::asks::Purpose, input::Failure,
    },
    limits::{FIND_TIMEOUT, PAGE_BYTES_MAX},
    model::{Batch, NodeId},
    wire::{LogRange, NodeRequest, Page, Response},
};

impl Engine {
    /// Asks a node that is not acquainted, and says that it holds the records, to show them: unless
    /// this node holds them itself.
    pub(super) fn have_shown(&mut self, number: SearchId) {
        let Some(search) = self.publish.retried.searches.get_mut(number) else {
            return;
        };
        let is_here = search.told.get(&self.core.me).is_none_or(Option::is_some);
        if is_here || search.showing.is_some() {
            return;
        }
        let (members, now) = (&self.core.members, self.core.now.elapsed);
        let claims = search.told.iter().filter_map(|(node, place)| Some((*node, (*place)?)));
        let mut new = claims.filter(|(node, _)| !search.asked_to_show.contains(node));
        let Some((node, place)) = new.find(|(node, _)| !members.is_acquainted(now, node)) else {
            return;
        };
        search.asked_to_show.insert(node);
        search.showing = Some(node);
        let to = place.first.saturating_add(u64::from(search.run.count));
        let range = LogRange { log: place.log, from: place.first, to };
        let bytes_max = u32::try_from(PAGE_BYTES_MAX).expect("a page is below 4 GiB");
        let request = NodeRequest::Fetch(search.topic, vec![range], bytes_max);
        self.core.ask(node, request, FIND_TIMEOUT, Purpose::Shown(number));
    }

    /// A node has shown the records that are looked for, which are kept, or has not.
    pub(in crate::engine) fn shown(
        &mut self,
        number: SearchId,
        node: NodeId,
        result: Result<Response, Failure>,
    ) {
        // The search ended meanwhile.
        let Some(search) = self.publish.retried.searches.get_mut(number) else {
            return;
        };
        search.showing = None;
        let (topic, run) = (search.topic, search.run);
        let page = match result {
            Ok(Response::Page(page)) => page,
            Ok(_) | Err(_) => Page::default(),
        };
        let is_it = |batch: &&Batch| {
            let header = batch.header();
            header.topic == topic && header.runs.iter().any(|held| holds(held, &run))
        };
        let shown: Vec<_> = page.batches.iter().filter(is_it).cloned().collect();
        let is_kept = |batch: &Batch| {
            matches!(self.store(batch, Some(node)), Ok(Added::New)) || self.is_place_taken(batch)
        };
        if !shown.is_empty() && shown.iter().all(is_kept) {
            return self.ask_whereabouts(number);
        }
        if let Some(search) = self.publish.retried.searches.get_mut(number) {
            search.unshown.insert(node);
            search.told.insert(node, None);
        }
        self.have_shown(number);
        self.settle_search(number);
    }
}
