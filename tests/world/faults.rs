//! What goes wrong.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    engine::{self, Input},
    model::Batch,
    wire::{ClientRequest, Request},
};

use crate::world::{Event, World, disk::Image, node::Asker};

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process is killed, and comes back; its connections close.
    Crash,
    /// A machine loses power, and comes back; nobody is told.
    PowerCut,
    /// All machines lose power.
    Blackout,
    /// Nodes are in two groups that cannot reach each other.
    Partition,
    /// Two nodes cannot reach each other, or one of them the other.
    Cut,
    /// All ways are open again.
    Heal,
    /// A connection breaks.
    Reset,
    /// A process is stopped for a while.
    Pause,
    /// A wall clock jumps.
    ClockJump,
    /// A disk is slow for a while.
    SlowDisk,
    /// A flush fails: the node stops.
    FailedFlush,
    /// A disk has no room for a while.
    FullDisk,
    /// A node is stopped cleanly, and comes back.
    Stop,
    /// A node is to leave: it hands over what it holds, and goes.
    Leave,
    /// A node joins.
    Join,
    /// A disk says that it has flushed, and loses it all in a power cut.
    LyingFlush,
    /// A batch on a disk becomes unreadable.
    BitFlip,
    /// A disk is replaced by an old copy of it.
    Restore,
    /// A disk is replaced by a copy of another node's.
    Clone,
    /// A disk is wiped.
    Wipe,
    /// A node is destroyed and never comes back.
    Destroy,
    /// Somebody who has a node's key signs another batch for a position.
    Equivocate,
}

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        Self::Crash,
        Self::PowerCut,
        Self::Blackout,
        Self::Partition,
        Self::Cut,
        Self::Heal,
        Self::Reset,
        Self::Pause,
        Self::ClockJump,
        Self::SlowDisk,
        Self::FailedFlush,
        Self::FullDisk,
        Self::Stop,
        Self::Leave,
        Self::Join,
        Self::LyingFlush,
        Self::BitFlip,
        Self::Restore,
        Self::Clone,
        Self::Wipe,
        Self::Destroy,
        Self::Equivocate,
    ];

    /// Whether it destroys what was flushed.
    pub(crate) fn is_destructive(self) -> bool {
        matches!(
            self,
            Self::LyingFlush
                | Self::BitFlip
                | Self::Restore
                | Self::Clone
                | Self::Wipe
                | Self::Destroy
        )
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::PowerCut => "power cut",
            Self::Blackout => "blackout of all",
            Self::Partition => "partition",
            Self::Cut => "link cut (half of them one-way)",
            Self::Heal => "all links healed",
            Self::Reset => "connection reset",
            Self::Pause => "process paused",
            Self::ClockJump => "wall clock jump",
            Self::SlowDisk => "slow disk",
            Self::FailedFlush => "failed flush",
            Self::FullDisk => "disk full, or no longer",
            Self::Stop => "clean stop",
            Self::Leave => "node asked to leave",
            Self::Join => "node added",
            Self::LyingFlush => "lying flush",
            Self::BitFlip => "bit flip",
            Self::Restore => "old disk restored",
            Self::Clone => "disk cloned",
            Self::Wipe => "disk wiped",
            Self::Destroy => "node lost for ever",
            Self::Equivocate => "second batch for a position",
        }
    }
}

impl World {
    /// A fault happens, and the next one is due.
    pub(crate) fn fault(&mut self) {
        if !self.faulty || self.options.faults.is_empty() {
            return;
        }
        let pause = self.choices.time(Duration::from_millis(5), self.options.fault_pause);
        self.event(pause, Event::Fault);
        let fault = self.options.faults[self.choices.index(self.options.faults.len())];
        let index = self.choices.index(self.nodes.len());
        if self.inflict(fault, index) {
            *self.counts.faults.entry(fault.name()).or_default() += 1;
            self.trace.mix(&[fault as u64, index as u64]);
            self.trace.note(self.now, || format!("FAULT {fault:?} at {index}"));
        }
    }

    /// Whether it could happen.
    fn inflict(&mut self, fault: Fault, index: usize) -> bool {
        let runs = self.nodes[index].engine.is_some();
        match fault {
            Fault::Crash if runs => self.crash(index, false),
            Fault::PowerCut if runs => self.crash(index, true),
            Fault::Blackout => self.running().into_iter().for_each(|index| self.crash(index, true)),
            Fault::Partition => self.partition(),
            Fault::Cut => self.cut(index),
            Fault::Heal => self.heal_links(),
            Fault::Reset if runs => {
                let connected: Vec<_> = self.nodes[index].connected.keys().copied().collect();
                if connected.is_empty() {
                    return false;
                }
                let other = connected[self.choices.index(connected.len())];
                let id = self.nodes[other].id;
                self.disconnect(index, &id);
            }
            Fault::Pause if runs => {
                let pause = self.choices.time(Duration::from_millis(100), Duration::from_secs(12));
                // What waits for the end of a pause keeps its order: it never ends earlier.
                let node = &mut self.nodes[index];
                node.paused_until = node.paused_until.max(self.now + pause);
            }
            Fault::ClockJump => {
                let jump = self.choices.pick(&[1_000, 61_000, 3_600_000, 86_400_000]);
                let back = self.choices.chance(500);
                let mut nodes = self.nodes.iter_mut().enumerate();
                let other = nodes.find(|(other, node)| *other != index && node.wall_offset != 0);
                match other.filter(|_| self.options.one_clock) {
                    // That one is set right first.
                    Some((_, other)) => other.wall_offset = 0,
                    None => self.nodes[index].wall_offset += if back { -jump } else { jump },
                }
            }
            Fault::SlowDisk => {
                self.nodes[index].disk.slowness = self.choices.pick(&[0, 10, 100, 1_000]);
            }
            Fault::FullDisk => {
                let full = !self.nodes[index].disk.full;
                self.fill(index, full);
            }
            Fault::Stop if runs => {
                self.stop_cleanly(index);
                self.restart_later(index);
            }
            Fault::Leave if runs && !self.is_liar(index) && self.stays().len() > 2 => {
                self.nodes[index].leaves = true;
                self.fewest = self.fewest.min(self.met().len());
                let question = self.question(index, Asker::World);
                let request = Request::Client(ClientRequest::Leave(self.nodes[index].id));
                self.handle(
                    index,
                    Input::Asked { question, asker: engine::Asker::Program, request },
                );
            }
            Fault::FailedFlush if runs => self.nodes[index].disk.failing = true,
            Fault::Join if self.nodes.len() < self.options.nodes_max => {
                self.add_node();
            }
            Fault::LyingFlush if self.nodes[index].disk.honest.is_none() => {
                self.nodes[index].disk.honest = Some(self.nodes[index].disk.image.clone());
            }
            Fault::BitFlip => return self.flip(index),
            Fault::Equivocate => return self.equivocate(index),
            Fault::Restore => return self.restore(index),
            Fault::Clone => return self.clone_disk(index),
            Fault::Wipe => {
                self.stop(index, true);
                self.replace_disk(index, Image::default());
            }
            Fault::Destroy if self.stays().len() > 2 => {
                self.stop(index, false);
                self.nodes[index].gone = true;
                self.replace_disk(index, Image::default());
            }
            _ => return false,
        }
        true
    }

    /// A node stops and starts again later.
    fn crash(&mut self, index: usize, power: bool) {
        let kept = self.choices.index(self.nodes[index].disk.pending.len() + 1);
        // Half of the time it is the worst: nothing that was not flushed is there.
        let kept = if self.choices.chance(500) { kept } else { 0 };
        let silently = power && self.choices.chance(700);
        self.kill(index, kept, silently);
        if let Some(honest) = self.nodes[index].disk.honest.take_if(|_| power) {
            self.replace_disk(index, honest);
        }
        self.restart_later(index);
    }

    /// Honest nodes that stay: they are not lost for ever, and do not leave.
    pub(crate) fn stays(&self) -> Vec<usize> {
        let stays = |index: &usize| {
            let node = &self.nodes[*index];
            !node.gone && !node.leaves && !node.lies && !self.is_out(*index)
        };
        (0..self.nodes.len()).filter(stays).collect()
    }

    /// Of those the nodes that another one has met. Who came and met nobody is a network of its own,
    /// and so is who met one that leaves and is cut off from all others.
    pub(crate) fn met(&self) -> Vec<usize> {
        let (mut stays, all) = (self.stays(), self.stays());
        let has_met = |one: usize, other: usize| {
            one != other
                && self.nodes[one].disk.image.tables.contacts.contains_key(&self.nodes[other].id)
        };
        stays.retain(|other| {
            let met_by = (0..self.nodes.len()).filter(|one| has_met(*one, *other));
            let met_by: Vec<_> = met_by.collect();
            met_by.len() > 1 || met_by.iter().any(|one| all.contains(one))
        });
        stays
    }

    /// A disk is full from now on, or is no longer.
    pub(crate) fn fill(&mut self, index: usize, full: bool) {
        self.nodes[index].disk.full = full;
        self.handle(index, Input::Room(!full));
    }

    fn restart_later(&mut self, index: usize) {
        let long = self.choices.chance(300);
        let most = if long { Duration::from_secs(30) } else { Duration::from_secs(3) };
        let pause = self.choices.time(Duration::from_millis(10), most);
        self.event(pause, Event::Start(index));
    }

    /// A node is stopped, so that something can be done to its disk.
    fn stop(&mut self, index: usize, restarts: bool) {
        if self.nodes[index].engine.is_some() {
            self.kill(index, 0, false);
            self.nodes[index].disk.honest = None;
            if restarts {
                self.restart_later(index);
            }
        }
    }

    pub(crate) fn replace_disk(&mut self, index: usize, image: Image) {
        // What comes with the disk and is damaged looks like a copy until somebody comes upon it.
        let damaged = image.damaged.iter().filter_map(|place| image.batches.get(place));
        let damaged: Vec<_> = damaged.map(Batch::hash).collect();
        self.oracle.brought_damaged(index, &damaged, self.now);
        self.nodes[index].disk.image = image;
        self.nodes[index].disk.image.stopped.clear();
        if let Some(admission) = &mut self.nodes[index].admission {
            admission.noted.clear();
        }
        self.nodes[index].disk.honest = None;
        self.observe_disk(index);
    }

    /// A flush failed: the node must not go on.
    pub(crate) fn latch(&mut self, index: usize) {
        self.trace.note(self.now, || format!("the flush of {index} fails"));
        self.nodes[index].disk.failing = false;
        self.kill(index, 0, false);
        self.restart_later(index);
    }

    fn partition(&mut self) {
        let nodes = self.nodes.len();
        let one: BTreeSet<_> = (0..nodes).filter(|_| self.choices.chance(500)).collect();
        for here in &one {
            for there in (0..nodes).filter(|node| !one.contains(node)) {
                self.links.cut.extend([(*here, there), (there, *here)]);
            }
        }
        // It may last, or heal by itself.
        if self.choices.chance(300) {
            self.heal_links();
        }
    }

    fn cut(&mut self, index: usize) {
        let other = self.choices.index(self.nodes.len());
        if other != index {
            self.links.cut.insert((index, other));
            if self.choices.chance(500) {
                self.links.cut.insert((other, index));
            }
        }
    }

    fn flip(&mut self, index: usize) -> bool {
        let image = &mut self.nodes[index].disk.image;
        let places: Vec<_> = image.batches.keys().copied().collect();
        if places.is_empty() {
            return false;
        }
        let place = places[self.choices.index(places.len())];
        self.nodes[index].disk.image.damaged.insert(place);
        self.observe_disk(index);
        true
    }

    /// The first time a copy is made, later times it comes back.
    fn restore(&mut self, index: usize) -> bool {
        if self.nodes[index].gone {
            return false;
        }
        let Some(backup) = self.nodes[index].disk.backup.take() else {
            self.nodes[index].disk.backup = Some(self.nodes[index].disk.image.clone());
            return false;
        };
        self.stop(index, true);
        self.replace_disk(index, backup);
        true
    }

    fn clone_disk(&mut self, index: usize) -> bool {
        let other = self.choices.index(self.nodes.len());
        if other == index || self.nodes[other].gone || self.nodes[index].gone {
            return false;
        }
        let image = self.nodes[other].disk.image.clone();
        self.stop(index, true);
        self.replace_disk(index, image);
        true
    }
}
