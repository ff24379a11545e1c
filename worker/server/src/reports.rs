//! The worker's life with its masters: it says each second to all of them what it has, so that each can lead at once, and
//! does what the one that leads tells it.
//!
//! Each master has a line of its own, with its own registration and its own place in what the worker has to tell. Those
//! that follow take in what they hear and tell nothing; whoever answers otherwise leads, and directs: keys, mounts, what
//! to forget, which other masters there are, and that another life of the cluster has begun.

mod line;

use std::sync::Arc;
use std::time::Duration;

use forebay_proto::{WireError, v1};
use forebay_runtime::Condition;
use forebay_types::{CapabilityKey, ClusterId, Incarnation, WorkerId};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::contents::{Contents, Mark, ShareIntake, report};
use crate::core::WorkerCore;
use crate::error::WorkerError;
use crate::forgetting::{ForgetList, Forgetting};
use crate::identity::{Identity, WorkerFolder};
use crate::limits::{DIRECTOR_PATIENCE, MASTERS_MAX, MASTERS_SOUGHT_AFTER};
use crate::mount_intake::{Answered, Asked, MountIntake};
use crate::registration::{Presentation, Registered, is_final, request_header, say_moved, tier_message};
use line::{Line, Reply, Said, Standing};

/// What a worker begins its reports with.
pub(crate) struct Joined<F> {
    pub(crate) presentation: Presentation,
    /// Locked for as long as the worker reports.
    pub(crate) folder: WorkerFolder,
    pub(crate) identity: Identity,
    /// The masters that the worker was told of by its settings.
    pub(crate) masters: Vec<String>,
    /// The master that took the worker in, and what it said.
    pub(crate) registered: (String, Registered),
    /// Met once the leader's keys and mounts are known.
    pub(crate) condition: Condition,
    /// Called at that moment.
    pub(crate) announce: F,
}

/// Reports to all masters.
pub(crate) struct Reports<F> {
    core: Arc<WorkerCore>,
    presentation: Presentation,
    folder: WorkerFolder,
    identity: Identity,
    incarnation: Incarnation,
    masters: Vec<String>,
    /// At most [`MASTERS_MAX`], and as many again while they are sought.
    lines: Vec<Line>,
    under_way: FuturesUnordered<BoxFuture<'static, Reply>>,
    /// The master that directs, and when it last did.
    director: Option<(String, Instant)>,
    /// When any master last answered.
    heard: Instant,
    shares: ShareIntake,
    forgetting: Forgetting,
    mounts: MountIntake,
    condition: Condition,
    announce: Option<F>,
    free_space: FreeSpaceLook,
}

/// Has the store look now and then at what its file systems have free, beside the heartbeats, so that a disk that does
/// not answer holds up none.
#[derive(Default)]
struct FreeSpaceLook(Option<BoxFuture<'static, ()>>);

impl FreeSpaceLook {
    /// Begins a look unless one goes on.
    fn go_on(&mut self, core: &Arc<WorkerCore>) {
        let look = self.0.get_or_insert_with(|| {
            let core = Arc::clone(core);
            async move {
                let store = core.path.cache.store().clone();
                // A process that is stopping reports no more.
                let _ = core.disk.run(move || store.look_at_free_space()).await;
            }
            .boxed()
        });
        if look.now_or_never().is_some() {
            self.0 = None;
        }
    }
}

/// Who the worker is to a master: in which cluster, and in which life of its state.
type Life = (WorkerId, ClusterId, Incarnation);

fn life(registered: &Registered) -> Life {
    (registered.worker, registered.cluster, registered.incarnation)
}

impl<F: FnOnce() + Send> Reports<F> {
    /// The reports of a worker that was just taken in.
    pub(crate) fn new(core: Arc<WorkerCore>, joined: Joined<F>) -> Result<Self, WireError> {
        let Joined { presentation, folder, identity, masters, registered, condition, announce } = joined;
        let (address, registered) = registered;
        let store = core.path.cache.store();
        let mut line = Line::new(address)?;
        let contents = Contents::new(store);
        line.standing = Some(Standing { registered, contents, forget_taken: 0 });
        Ok(Self {
            presentation,
            folder,
            identity,
            incarnation: registered.incarnation,
            masters,
            // The others are those that the leader tells of, under the addresses that they have for each other.
            lines: vec![line],
            under_way: FuturesUnordered::new(),
            director: None,
            heard: Instant::now(),
            shares: ShareIntake::new(store),
            forgetting: Forgetting::default(),
            mounts: MountIntake::new(),
            condition,
            announce: Some(announce),
            free_space: FreeSpaceLook::default(),
            core,
        })
    }

    /// Reports until `cancel`.
    ///
    /// # Errors
    /// [`WorkerError::Refused`] when the worker may not come back, [`WorkerError::Folder`] when who it is now cannot be
    /// kept.
    pub(crate) async fn run(mut self, cancel: &CancellationToken) -> Result<(), WorkerError> {
        loop {
            self.ask();
            let next = self.lines.iter().filter(|line| !line.is_asked).map(|line| line.due).min();
            // A master that is not reached has no mounts to give.
            let may_ask_for_mounts = self.resting_director().is_some();
            tokio::select! {
                // In this order, so that heartbeats that follow each other at once hold up nothing.
                biased;
                () = cancel.cancelled() => return Ok(()),
                ((address, registration), sequence) = self.forgetting.taken_in() => {
                    self.taken(&address, registration, sequence);
                }
                () = self.mounts.taken_in(&self.core) => {
                    self.announce();
                    self.ask_director();
                }
                Some(reply) = self.under_way.next() => self.hear(reply).await?,
                () = until(next) => {}
                () = self.core.mounts.is_wanted(), if may_ask_for_mounts => self.ask_director(),
            }
        }
    }

    /// Asks whomever it is time for.
    fn ask(&mut self) {
        self.seek();
        let now = Instant::now();
        for index in 0..self.lines.len() {
            if !self.lines[index].is_due(now) {
                continue;
            }
            match self.lines[index].standing.clone() {
                Some(standing) => self.beat(index, &standing),
                None => {
                    let usage = self.core.path.cache.store().usage();
                    self.presentation.tiers = usage.iter().map(tier_message).collect();
                    let request = self.presentation.request(Some(self.identity), true);
                    self.under_way.push(self.lines[index].register(request).boxed());
                }
            }
        }
    }

    /// Sends a heartbeat to one master.
    fn beat(&mut self, index: usize, standing: &Standing) {
        let core = &self.core;
        let store = core.path.cache.store();
        self.shares.go_on(store, &core.shares);
        let (versions, mark) = standing.contents.next(store);
        let mounts: Vec<_> =
            core.mounts.connected().iter().map(|mount| mount.report(core.shares.cached(mount.id))).collect();
        let under_store_bytes = mounts.iter().map(|mount| mount.under_store_read_bytes).sum();
        // What is known of the mounts of another life is nothing there.
        let asked = match life(&standing.registered) == self.life() {
            true => self.mounts.ask(core.clock.boot_instant()),
            false => Asked::default(),
        };
        self.free_space.go_on(core);
        let tiers = store.usage();
        let request = v1::HeartbeatRequest {
            header: Some(request_header()),
            worker: standing.registered.worker.get(),
            registration: standing.registered.registration,
            tiers: tiers.iter().map(tier_message).collect(),
            versions: versions.iter().map(report).collect(),
            reads: Some(core.path.counts.report(under_store_bytes)),
            mounts,
            mounts_revision: asked.known,
            forget_taken: Some(standing.forget_taken),
            mounts_place: asked.place,
            usable_bytes: tiers.iter().map(|tier| tier.usable().get()).collect(),
            to_any_master: true,
            clock_nanos: Some(core.clock.now().nanos()),
        };
        self.under_way.push(self.lines[index].beat(request, mark, asked).boxed());
    }

    /// Takes up what a master said.
    async fn hear(&mut self, Reply { address, said }: Reply) -> Result<(), WorkerError> {
        let Some(index) = self.lines.iter().position(|line| line.address == address) else {
            // It is not reported to any more.
            return Ok(());
        };
        self.lines[index].is_asked = false;
        match said {
            Said::Registered(answer) => self.registered(index, answer),
            Said::Beat { mark, asked, answer } => {
                self.core.metrics.heartbeat(answer.is_ok());
                match answer {
                    Ok(answer) => return self.beaten(index, mark, asked, answer).await,
                    Err(error) => self.lines[index].not_reached(&error),
                }
                Ok(())
            }
        }
    }

    fn registered(&mut self, index: usize, answer: Result<Registered, WireError>) -> Result<(), WorkerError> {
        let is_directed = self.is_directed_beside(index);
        let line = &mut self.lines[index];
        match answer {
            Ok(registered) => {
                self.heard = Instant::now();
                line.answered(Duration::ZERO);
                let contents = Contents::new(self.core.path.cache.store());
                line.standing = Some(Standing { registered, contents, forget_taken: 0 });
                tracing::info!(worker = %registered.worker, master = line.address, "registered again");
            }
            // Of one that does not lead it may be its own fault.
            Err(error) if is_final(error.kind) && !is_directed => {
                let master = line.address.clone();
                return Err(WorkerError::Refused { master, kind: error.kind, message: error.message });
            }
            Err(error) => line.not_reached(&error),
        }
        Ok(())
    }

    async fn beaten(
        &mut self,
        index: usize,
        mark: Mark,
        asked: Asked,
        answer: v1::HeartbeatResponse,
    ) -> Result<(), WorkerError> {
        self.heard = Instant::now();
        let store = self.core.path.cache.store();
        let line = &mut self.lines[index];
        let Some(standing) = line.standing.as_mut().filter(|_| !answer.register_again) else {
            line.answered(Duration::ZERO);
            line.begin_anew();
            return Ok(());
        };
        standing.contents.acknowledged(mark);
        let (registered, has_more) = (standing.registered, standing.contents.has_more(store));
        line.answered(if has_more { Duration::ZERO } else { registered.interval });
        if answer.follows {
            self.director.take_if(|(address, _)| *address == line.address);
            return Ok(());
        }
        if life(&registered) != self.life() {
            if self.is_directed_beside(index) {
                self.lines[index].is_foreign();
                return Ok(());
            }
            self.adopt(&registered)?;
            self.lines[index].due = Instant::now();
        }
        self.follow(index, registered.registration, asked, answer).await;
        Ok(())
    }

    /// Does what the master that leads told.
    async fn follow(&mut self, index: usize, registration: u64, asked: Asked, answer: v1::HeartbeatResponse) {
        let address = self.lines[index].address.clone();
        if self.director.as_ref().is_some_and(|(before, _)| *before != address) {
            tracing::info!(master = address, "another master leads");
        }
        self.director = Some((address.clone(), Instant::now()));
        let mut keys = Vec::with_capacity(answer.keys.len());
        for key in answer.keys {
            match CapabilityKey::try_from(key) {
                Ok(key) => keys.push(key),
                Err(error) => tracing::warn!(%error, "the master sent a key that cannot be used"),
            }
        }
        self.core.keys.replace(keys);
        let answered = Answered {
            revision: answer.mounts_revision,
            mounts: answer.mounts,
            end_at: answer.mounts_end_at,
        };
        self.mounts.take(&self.core, asked, answered).await;
        if self.mounts.has_begun() {
            self.lines[index].due = Instant::now();
        }
        let list = ForgetList {
            sequence: answer.forget_sequence,
            files: answer.forget.into_iter().map(Into::into).collect(),
            disowned: answer.disown.into_iter().map(Into::into).collect(),
        };
        let taken = self.lines[index].standing.as_ref().map_or(0, |standing| standing.forget_taken);
        self.forgetting.begin(&self.core, (address.clone(), registration), taken, list);
        self.announce();
        // A master of an older release does not say, and those of the settings are then all that are known.
        let others = answer.others.map_or_else(|| self.masters.clone(), |others| others.addresses);
        self.report_to(&address, others);
    }

    /// Says once that the worker can serve: keys came with the first answer, and mounts when they were taken in.
    fn announce(&mut self) {
        if self.mounts.has_any()
            && let Some(announce) = self.announce.take()
        {
            self.condition.set(true);
            announce();
        }
    }

    /// Reports to the master that leads, at the address at which it was reached, and to these, and to no one else.
    fn report_to(&mut self, leader: &str, others: Vec<String>) {
        let is_wanted = |line: &Line| line.address == leader || others.contains(&line.address);
        self.lines.retain(is_wanted);
        for other in others {
            self.add(other, MASTERS_MAX);
        }
    }

    /// While no master answers, those of the settings are asked too: the others may all have moved.
    fn seek(&mut self) {
        if self.heard.elapsed() > MASTERS_SOUGHT_AFTER {
            for master in self.masters.clone() {
                self.add(master, 2 * MASTERS_MAX);
            }
        }
    }

    fn add(&mut self, address: String, max: usize) {
        if self.lines.len() >= max || self.lines.iter().any(|line| line.address == address) {
            return;
        }
        match Line::new(address) {
            Ok(line) => self.lines.push(line),
            Err(error) => tracing::debug!(%error, "a master cannot be reported to"),
        }
    }

    /// Another life of the state of the masters, or another cluster, is followed from now on.
    fn adopt(&mut self, registered: &Registered) -> Result<(), WorkerError> {
        let kept = self.identity;
        self.identity = registered.identity(Some(kept));
        if self.identity != kept {
            say_moved(kept, self.identity);
            self.folder.keep(self.identity)?;
        }
        let Registered { worker, incarnation, .. } = *registered;
        tracing::info!(%worker, %incarnation, "another life of the master's state has begun");
        self.incarnation = incarnation;
        self.core.begin_life(worker, incarnation);
        self.mounts = MountIntake::new();
        let now = self.life();
        for line in &mut self.lines {
            if line.standing.as_ref().is_some_and(|standing| life(&standing.registered) != now) {
                line.begin_anew();
            }
        }
        Ok(())
    }

    fn taken(&mut self, address: &str, registration: u64, sequence: u64) {
        let mut standings = self
            .lines
            .iter_mut()
            .filter(|line| line.address == address)
            .filter_map(|line| line.standing.as_mut());
        if let Some(standing) = standings.find(|standing| standing.registered.registration == registration) {
            standing.forget_taken = sequence;
        }
    }

    fn life(&self) -> Life {
        (self.identity.worker, self.identity.cluster, self.incarnation)
    }

    /// Whether another master than this one directs and was heard of lately.
    fn is_directed_beside(&self, index: usize) -> bool {
        let is_other = |(address, heard): &(String, Instant)| {
            *address != self.lines[index].address && heard.elapsed() < DIRECTOR_PATIENCE
        };
        self.director.as_ref().is_some_and(is_other)
    }

    /// The line of the master that directs, when nothing is asked there now.
    fn resting_director(&mut self) -> Option<&mut Line> {
        let (address, _) = self.director.as_ref()?;
        let is_it = |line: &&mut Line| line.address == *address && line.is_reached && !line.is_asked;
        self.lines.iter_mut().find(is_it)
    }

    fn ask_director(&mut self) {
        if let Some(line) = self.resting_director() {
            line.due = Instant::now();
        }
    }
}

/// Sleeps until then, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
