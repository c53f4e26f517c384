//! The loop: observe, plan, act in parallel, wait for something to happen, observe again, until the goal is
//! reached, refused, or out of time.
//!
//! An attach waits for what others do, udev above all: it subscribes to uevents first and then looks, so nothing that happens in
//! between is missed; between events it sleeps. A detach waits for its own steps, and for little else, which no event
//! tells of: it does not listen, so nothing that happens to other volumes wakes it. What was tried is in its ledger, which outlives a goal: a failed attach hands its ledger, and the steps
//! still running, to the clean-up.

mod concern;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bowline_host::host::{UeventNotice, UeventStream};
use bowline_host::iscsi::Endpoint;
use bowline_host::layers::Layer;
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::openers::Opener;
use bowline_host::{Host, Moment, Wwid};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::act::{self, Answered, Context, Patterns};
use crate::cancel::Cancel;
use crate::claims::Claim;
use crate::connection::{Chap, WantedPath};
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::journal::{self, Attachment};
use crate::ledger::{Ending, Ledger};
use crate::links::Links;
use crate::locks;
use crate::narrate::Narrator;
use crate::plan::attach::Attach;
use crate::plan::detach::Detach;
use crate::plan::{Decision, Step, View, attach, detach};
use crate::policy::LoginPolicy;
use crate::sabotage::sabotaged;
use crate::topology::Topology;

use self::concern::Concern;

/// What is to become true.
#[derive(Debug, Clone)]
pub enum Goal {
    /// The volume is attached.
    Attach(Attach),
    /// Nothing of the attachment is left.
    Detach(Detach),
}

impl Goal {
    fn paths(&self) -> &[WantedPath] {
        match self {
            Self::Attach(goal) => &goal.paths,
            Self::Detach(goal) => &goal.paths,
        }
    }
}

/// What was last seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The host.
    pub topology: Topology,
    /// The claims.
    pub claims: BTreeMap<Endpoint, Claim>,
}

/// How a pursuit ended.
#[derive(Debug)]
pub enum Pursuit {
    /// The goal is reached, or nothing is left that could still help it (a clean-up then names what is left).
    Done(Seen),
    /// It cannot be reached.
    Refused(Error, Seen),
    /// Time is up; what it was waiting for.
    Deadline(Vec<String>, Seen),
    /// The caller asked to stop.
    Cancelled,
}

/// What wakes the loop.
enum Wake {
    Step(Step, Ending),
    Something,
    Timer,
    Cancelled,
}

/// What has woken it, before it is known whether it matters.
enum Woken {
    By(Wake),
    Notice(UeventNotice),
}

/// Uevents come in bursts: what arrives within this time, or twice the time the last look took where that is longer,
/// is looked at once. So looking never takes more than a third of the time, however busy the host is.
const BURST: Duration = Duration::from_millis(8);

/// How long no look is made by the clock alone, and with it how late the planner's own times are met at most.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// What a detach looks at by the clock alone is soon over: who has the map open for a moment, a disk on its way out.
const LONGEST_REST_OF_A_DETACH: Duration = Duration::from_millis(300);

/// Where a look takes long the processors are busy, and with what is waited for: looking is then left to events and the ends of
/// steps, but for a fifth of the time, or for what is left of it in eight parts.
fn rest(look: Duration, left: Duration) -> Duration {
    (look * 4).min(left / 8)
}

type Running<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = (Step, Ending)> + Send + 'a>>>;

/// The loop's state.
pub struct Runner<'a> {
    host: &'a dyn Host,
    chap: Option<&'a Chap>,
    login: LoginPolicy,
    flush: Duration,
    id: &'a str,
    seed: u64,
    /// How long the last look took.
    look: Duration,
    /// Whose events matter, by what was last seen.
    concern: Concern,
    /// While it attaches.
    stream: Option<Box<dyn UeventStream>>,
    running: Running<'a>,
    patterns: Arc<Patterns>,
    /// Logins of this verb that are over.
    pub(crate) answered: Arc<Answered>,
    /// What was tried.
    pub ledger: Ledger,
    narrator: Narrator<'a>,
    /// The attachment, as it is on disk. `None` while nothing of it is written: a volume that somebody else
    /// attached has no journal.
    pub journal: Option<Attachment>,
    /// Whether it stops as soon as another verb waits for the volume.
    pub gives_way: bool,
    /// Whether it goes on where a process has ended: programs of that one may still be at it.
    pub(crate) resumes: bool,
    /// The identity that a detach has found: the last disk takes it away, but not from the wwids file.
    pub identity: Option<Wwid>,
    /// Who was seen to use the volume while its data was given up: what they have not written is lost (D8).
    pub users: BTreeSet<Opener>,
    /// What was seen upon the volume: once its disks are gone, nothing else leads there (D9).
    layers: BTreeSet<Layer>,
    /// And what led to it.
    pub(crate) links: Links,
}

/// What is kept for the last look at most.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// Nothing tells that a lock is waited for, so a loop that gives way looks this often.
const GIVE_WAY: Duration = Duration::from_millis(200);

/// A verb ends with the last look of a detach, which tells what is left, so that has to be over by the deadline as well (B7): on a
/// machine that is short of processors it was seen to take a second. An attach leaves time for its clean-up in any case.
fn last_look(deadline: Moment, look: Duration) -> Moment {
    deadline - look.min(LONGEST_LOOK)
}

impl<'a> Runner<'a> {
    /// A loop for one attachment.
    pub fn new(
        host: &'a dyn Host,
        id: &'a str,
        chap: Option<&'a Chap>,
        login: LoginPolicy,
        flush: Duration,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            host,
            chap,
            login,
            flush,
            id,
            seed: u64::from(host.process_id()).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            look: Duration::ZERO,
            concern: Concern::default(),
            stream: None,
            running: FuturesUnordered::new(),
            patterns: Arc::default(),
            answered: Arc::default(),
            ledger: Ledger::default(),
            narrator: Narrator::new(observer, host.now()),
            journal: None,
            gives_way: false,
            resumes: false,
            users: BTreeSet::new(),
            identity: None,
            layers: BTreeSet::new(),
            links: Links::default(),
        }
    }

    /// The attachment's id.
    pub(crate) fn id(&self) -> &str {
        self.id
    }

    /// Lets time pass. Of a shared runner the future could not change threads.
    pub(crate) async fn pause(&mut self, time: Duration) {
        self.host.sleep_until(self.host.now() + time).await;
    }

    /// How long ago it began.
    pub(crate) fn lasted(&self) -> Duration {
        self.host.now().since(self.narrator.began)
    }

    /// The host's clock.
    pub(crate) fn now(&self) -> Moment {
        self.host.now()
    }

    /// The journal of an attachment of which nothing is left goes last.
    pub(crate) fn forget(&mut self) -> Result<(), Error> {
        self.journal = None;
        journal::remove(self.host, self.id)
    }

    /// Our own file as something that is left: it may remain of a volume that is gone, and makes the next verb begin with
    /// cleaning up, so it is named (D9).
    pub(crate) fn own_state(&self) -> String {
        format!("bowline's own state of attachment {}", self.id)
    }

    /// Tells the observer.
    pub fn tell(&mut self, event: Event) {
        self.narrator.tell(self.host.now(), event);
    }

    /// Works towards a goal until it is reached, refused, out of time, or cancelled.
    ///
    /// # Errors
    /// When the host cannot be observed, uevents cannot be subscribed to, or the journal cannot be written.
    pub async fn pursue(
        &mut self,
        mut goal: Goal,
        deadline: Moment,
        cancel: &mut Cancel,
    ) -> Result<Pursuit, Error> {
        self.host.about_to_act();
        self.stream = match &goal {
            Goal::Attach(_) => Some(self.host.uevents()?),
            Goal::Detach(_) => None,
        };
        loop {
            self.drain().await;
            let began = self.host.now();
            let seen = self.observe_for(&mut goal)?;
            let now = self.host.now();
            self.look = now.since(began);
            self.concern = Concern::of(&goal, self.journal.as_ref(), &seen.topology);
            let view = View {
                id: self.id,
                topology: &seen.topology,
                claims: &seen.claims,
                ledger: &self.ledger,
                now,
                seed: self.seed,
            };
            let decision = match &goal {
                Goal::Attach(goal) => attach::plan(goal, &view),
                Goal::Detach(goal) => detach::plan(goal, &view),
            };
            self.narrator.compare(&goal, &view);
            let (steps, wake, waiting) = match decision {
                Decision::Done => return Ok(Pursuit::Done(seen)),
                Decision::Refused(error) => return Ok(Pursuit::Refused(error, seen)),
                Decision::Act { steps, wake, waiting } => (steps, wake, waiting),
            };
            let (end, longest) = match &goal {
                Goal::Attach(_) => (deadline, LONGEST_REST),
                Goal::Detach(_) => (last_look(deadline, self.look), LONGEST_REST_OF_A_DETACH),
            };
            if now >= end && !sabotaged!(WaitOn) {
                return Ok(Pursuit::Deadline(waiting, seen));
            }
            if cancel.asked() {
                return Ok(Pursuit::Cancelled);
            }
            self.begin(steps, &seen.claims)?;
            let deadline = if sabotaged!(WaitOn) { now + Duration::from_secs(1) } else { end };
            let rest = rest(self.look, deadline.since(now)).min(longest);
            let wake = wake.map_or(deadline, |wake| wake.max(now + rest).min(deadline));
            match self.wait_giving_way(wake, cancel).await? {
                Wake::Step(step, ending) => {
                    self.end(&step, ending);
                    self.gather(&step, deadline).await?;
                }
                Wake::Something | Wake::Timer => {}
                Wake::Cancelled => return Ok(Pursuit::Cancelled),
            }
        }
    }

    /// Short steps of a kind that were begun together end together: before the next look the others get as long as the last one
    /// took, and one look serves them all.
    async fn gather(&mut self, ended: &Step, deadline: Moment) -> Result<(), Error> {
        if !matches!(ended, Step::PrepareRecord(_) | Step::DeleteDevice { .. } | Step::Release(_)) {
            return Ok(());
        }
        let until = deadline.min(self.host.now() + self.look);
        while self.ledger.runs_alike(ended) && self.host.now() < until {
            match self.next_wake(until, &mut Cancel::never(), false).await? {
                Wake::Step(step, ending) => self.end(&step, ending),
                _ => break,
            }
        }
        Ok(())
    }

    /// Sleeps until there is something to look at; a loop that gives way also ends when it is in another's.
    async fn wait_giving_way(&mut self, until: Moment, cancel: &mut Cancel) -> Result<Wake, Error> {
        if !self.gives_way {
            return self.wait(until, cancel).await;
        }
        loop {
            if let Some(journal) = &self.journal
                && locks::is_waited_for(self.host, &journal.paths).await
            {
                return Ok(Wake::Cancelled);
            }
            match self.wait(until.min(self.host.now() + GIVE_WAY), cancel).await? {
                Wake::Timer if self.host.now() < until => {}
                wake => return Ok(wake),
            }
        }
    }

    fn begin(&mut self, steps: Vec<Step>, claims: &BTreeMap<Endpoint, Claim>) -> Result<(), Error> {
        for step in steps {
            if self.ledger.running(&step) {
                continue;
            }
            self.before(&step, claims)?;
            let now = self.host.now();
            let again = self.resumes || self.ledger.tries(&step).next().is_some();
            self.narrator.begins(now, &step);
            self.ledger.begin(step.clone(), now);
            let (host, id, chap, login, flush) = (self.host, self.id, self.chap, self.login, self.flush);
            let (patterns, answered) = (Arc::clone(&self.patterns), Arc::clone(&self.answered));
            self.running.push(Box::pin(async move {
                let (patterns, answered) = (&*patterns, &*answered);
                let context = Context { host, id, chap, login, flush, patterns, answered, again };
                let ending = act::perform(context, &step).await;
                (step, ending)
            }));
        }
        Ok(())
    }

    /// What whoever finishes this after a crash must know, and could not see (B4): that a map which goes was flushed, so
    /// that its disks hold nothing then; that we scan below a session of others, where a disk tells nothing of whose
    /// it is; and that a scan may bring a disk in after another has.
    fn before(&mut self, step: &Step, claims: &BTreeMap<Endpoint, Claim>) -> Result<(), Error> {
        let syncs = || self.ledger.entries().iter().filter(|entry| matches!(entry.step, Step::Sync { .. }));
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let before = journal.clone();
        match step {
            Step::RemoveMap { wwid, .. } if !journal.flushed && !journal.beside.contains_key(wwid) => {
                journal.flushed =
                    syncs().next().is_some() && syncs().all(|entry| self.ledger.succeeded(&entry.step));
            }
            Step::Scan { endpoint, .. } => {
                journal.scans_again |= self.ledger.lingers(step);
                if !claims.get(endpoint).is_some_and(|claim| claim.made_session) {
                    journal.scanned.insert(endpoint.clone());
                }
            }
            _ => return Ok(()),
        }
        if *journal == before { Ok(()) } else { journal::store(self.host, journal) }
    }

    /// Sleeps until a step ends, something happens to a device of the volume, the caller asks to stop, or `until`.
    async fn wait(&mut self, until: Moment, cancel: &mut Cancel) -> Result<Wake, Error> {
        let wake = self.next_wake(until, cancel, true).await?;
        if !matches!(wake, Wake::Something) {
            return Ok(wake);
        }
        // What else comes within the burst is looked at with it; a step that ends is not kept waiting.
        let burst = self.host.now() + BURST.max(self.look * 2);
        match self.next_wake(burst.min(until), cancel, false).await? {
            Wake::Timer => Ok(Wake::Something),
            wake => Ok(wake),
        }
    }

    /// The next thing that matters; events only where it listens.
    async fn next_wake(&mut self, until: Moment, cancel: &mut Cancel, listens: bool) -> Result<Wake, Error> {
        let mut sleep = pin!(self.host.sleep_until(until));
        loop {
            let (stream, running) = (self.stream.as_mut().filter(|_| listens), &mut self.running);
            let mut next = pin!(async {
                match stream {
                    Some(stream) => stream.next().await,
                    None => std::future::pending().await,
                }
            });
            let woken = poll_fn(|context| {
                if let Poll::Ready(Some((step, ending))) = running.poll_next_unpin(context) {
                    return Poll::Ready(Ok(Woken::By(Wake::Step(step, ending))));
                }
                if Pin::new(&mut *cancel).poll(context).is_ready() {
                    return Poll::Ready(Ok(Woken::By(Wake::Cancelled)));
                }
                if let Poll::Ready(notice) = next.as_mut().poll(context) {
                    return Poll::Ready(notice.map(Woken::Notice));
                }
                sleep.as_mut().poll(context).map(|()| Ok(Woken::By(Wake::Timer)))
            });
            match woken.await? {
                Woken::By(wake) => return Ok(wake),
                Woken::Notice(notice) if self.concern.has(&notice) => return Ok(Wake::Something),
                Woken::Notice(_) => {}
            }
        }
    }

    /// Ends of steps and events that came meanwhile are taken in before looking: one look serves them all.
    async fn drain(&mut self) {
        let ready = |context: &mut std::task::Context<'_>, running: &mut Running<'a>| {
            Poll::Ready(match running.poll_next_unpin(context) {
                Poll::Ready(ended) => ended,
                Poll::Pending => None,
            })
        };
        while let Some((step, ending)) = poll_fn(|context| ready(context, &mut self.running)).await {
            self.end(&step, ending);
        }
        while self.stream.as_mut().is_some_and(|stream| stream.try_next().is_some()) {}
    }

    fn end(&mut self, step: &Step, ending: Ending) {
        let now = self.host.now();
        self.narrator.ended(now, step, &ending);
        if let (Step::Sync { device, number }, Ending::Final(_)) = (step, &ending) {
            self.keep_loss(device, *number);
        }
        self.ledger.end(step, now, ending);
    }

    /// The kernel tells of a lost write once, so it is written down before anything else: no later flush may pass for a
    /// clean one, whatever becomes of this process. Where it cannot be written the next flush is told as well.
    fn keep_loss(&mut self, device: &BlockName, number: DevNumber) {
        let kept = match &mut self.journal {
            Some(journal) => {
                journal.lost_write = true;
                journal::store(self.host, journal).is_ok()
            }
            // A volume that somebody else attached has no journal: the caller is told, and nobody else.
            None => true,
        };
        if kept {
            self.host.flush_told(device, number);
        }
    }

    /// Waits for steps that are running to end, until `deadline`: none may be left behind unnoticed.
    pub async fn settle(&mut self, deadline: Moment) {
        while !self.running.is_empty() && self.host.now() < deadline {
            let mut never = Cancel::never();
            if let Ok(Wake::Step(step, ending)) = self.wait(deadline, &mut never).await {
                self.end(&step, ending);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_the_last_look_is_over_by_the_deadline() {
        let at = |ms| Moment(Duration::from_millis(ms));
        assert_eq!(last_look(at(40_000), Duration::from_millis(300)), at(39_700));
        assert_eq!(last_look(at(40_000), Duration::from_secs(9)), at(38_000));
        assert_eq!(last_look(at(1000), Duration::from_secs(9)), at(0));
    }

    #[test]
    fn a_rest_is_a_part_of_what_is_left() {
        let ms = Duration::from_millis;
        assert_eq!(rest(ms(1), ms(60_000)), ms(4));
        assert_eq!(rest(ms(3000), ms(60_000)), ms(7500));
        assert_eq!(rest(ms(250), ms(800)), ms(100));
        assert_eq!(rest(ms(250), ms(0)), ms(0));
    }
}
