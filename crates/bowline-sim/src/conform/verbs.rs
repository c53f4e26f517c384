//! The verbs, as the command runs them: each in a process of its own, its options from the command line's, its answer and
//! its events in the command's JSON.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline::event::{Event, Observer};
use bowline::report::SCHEMA;
use bowline::{
    Canceller, ConnectOptions, Connection, DisconnectOptions, Error, OnDirty, Which, connect, disconnect,
    finish,
};
use bowline_conformance::Answer;
use bowline_conformance::action::{Connect, Disconnect};
use bowline_host::Wwid;
use serde::Serialize;
use serde_json::{Value, json};

use super::stage::SimStage;
use crate::executor::Sim;
use crate::host::SimHost;
use crate::model::Volume;

/// Keeps what a verb tells, and notes it in the trace.
struct Listener {
    sim: Sim,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Observer for Listener {
    fn event(&self, _at: Duration, event: &Event) {
        self.sim.with(|world| world.note("event", format_args!("{event:?}")));
        let told = serde_json::to_value(event).unwrap_or_default();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }
}

impl SimStage {
    pub(super) async fn attach(&mut self, connection: &Value, how: &Connect) -> Result<Answer, String> {
        let connection = read(connection)?;
        let options = options(how, &connection)?;
        let began = self.sim.now();
        let (host, listener) = (SimHost::start(&self.sim), self.listener());
        let canceller = Canceller::default();
        let result = connect(&host, &connection, &options, &listener, canceller.listener()).await;
        self.sim.with(|world| world.end_process(host.pid()));
        if let Ok(connected) = &result
            && connected.unfinished
        {
            let left = options.deadline.saturating_sub(self.sim.now() - began);
            self.finish_later(connected.id.clone(), left);
        }
        Ok(answer(result, &listener))
    }

    pub(super) async fn detach(&mut self, connection: &Value, how: &Disconnect) -> Result<Answer, String> {
        let which = Which::Connection(Box::new(read(connection)?));
        let defaults = DisconnectOptions::default();
        let options = DisconnectOptions {
            on_dirty: if how.force { OnDirty::Discard } else { OnDirty::Refuse },
            flush_timeout: how.flush_timeout.map_or(defaults.flush_timeout, Duration::from_secs),
            deadline: how.deadline.map_or(defaults.deadline, Duration::from_secs),
            ..defaults
        };
        let (host, listener) = (SimHost::start(&self.sim), self.listener());
        let canceller = Canceller::default();
        let result = disconnect(&host, &which, &options, &listener, canceller.listener()).await;
        self.sim.with(|world| world.end_process(host.pid()));
        Ok(answer(result, &listener))
    }

    /// The command leaves a process behind that brings the missing paths (B2).
    fn finish_later(&self, id: String, deadline: Duration) {
        let (sim, finishers) = (self.sim.clone(), self.finishers.clone());
        finishers.set(finishers.get() + 1);
        self.spawner.spawn(&self.sim, async move {
            let host = SimHost::start(&sim);
            let listener = Listener { sim: sim.clone(), told: Arc::default() };
            let canceller = Canceller::default();
            let result = finish(&host, &id, deadline, &listener, canceller.listener()).await;
            sim.with(|world| {
                world.note("RESULT", format_args!("finish: {result:?}"));
                world.end_process(host.pid());
            });
            finishers.set(finishers.get() - 1);
        });
    }

    fn listener(&self) -> Listener {
        Listener { sim: self.sim.clone(), told: Arc::default() }
    }
}

fn read(connection: &Value) -> Result<Connection, String> {
    Connection::from_json(connection.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// As the command makes them of its arguments.
fn options(how: &Connect, connection: &Connection) -> Result<ConnectOptions, String> {
    let defaults = ConnectOptions::default();
    let deadline = how.deadline.map_or(defaults.deadline, Duration::from_secs);
    let wwid = how.wwid.map(|volume| Volume::new(volume as usize).wwid().parse::<Wwid>()).transpose();
    Ok(ConnectOptions {
        multipath: !how.single_path,
        allow_single_device: how.allow_single_device,
        min_paths: how.min_paths,
        expected: wwid.map_err(|error| error.to_string())?.or_else(|| connection.wwid.clone()),
        ..defaults.by(deadline)
    })
}

fn answer<T: Serialize>(result: Result<T, Error>, listener: &Listener) -> Answer {
    listener.sim.with(|world| match &result {
        Ok(_) => world.note("RESULT", format_args!("ok")),
        Err(error) => world.note("RESULT", format_args!("{:?}: {error}; {:?}", error.kind, error.leftovers)),
    });
    let events = std::mem::take(&mut *listener.told.lock().unwrap_or_else(PoisonError::into_inner));
    let (code, said) = match result {
        Ok(report) => (0, serde_json::to_value(report).unwrap_or_default()),
        Err(error) => (error.kind.exit_code().into(), json!({ "schema": SCHEMA, "error": error })),
    };
    Answer { code, said, events }
}
