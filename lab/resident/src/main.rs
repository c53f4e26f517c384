//! bowline's library in a process that lives on, as a storage service would have it: a request a line on standard input,
//! an answer a line with the same id on standard output, both JSON. The first line tells the version.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, BufRead};
use std::time::{Duration, Instant};

use bowline::event::Silent;
use bowline::{Cancel, ConnectOptions, Connected, Connection, DisconnectOptions, OnDirty, Outcome, Which};
use bowline_linux::{LinuxHost, Settings};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", json!({ "version": concat!("bowline ", env!("CARGO_PKG_VERSION")) }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let host = LinuxHost::new(Settings::from_environment())?;
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        runtime.spawn(serve(host.beside(), request));
    }
    Ok(())
}

/// Answers a request; where paths are still missing then, goes on to bring them.
async fn serve(host: LinuxHost, request: Value) {
    let (said, unfinished) = match work(&host, &request).await {
        Ok((said, unfinished)) => (said, unfinished),
        Err(error) => (json!({ "error": sentence(&*error) }), None),
    };
    let mut answer = said;
    answer["id"] = request["id"].clone();
    println!("{answer}");
    let Some((id, deadline)) = unfinished else { return };
    if let Err(error) = bowline::finish(&host, &id, deadline, &Silent, Cancel::never()).await {
        eprintln!("the missing paths of {id} did not come: {}", sentence(&error));
    }
}

/// What is still to be brought, and until when.
type Unfinished = Option<(String, Duration)>;

async fn work(
    host: &LinuxHost,
    request: &Value,
) -> Result<(Value, Unfinished), Box<dyn Error + Send + Sync>> {
    let connection = Connection::from_json(request["connection"].to_string().as_bytes())?;
    match request["verb"].as_str() {
        Some("attach") => {
            let multipath = request["multipath"].as_bool().unwrap_or(true);
            let options = ConnectOptions { multipath, ..ConnectOptions::default() };
            let options = match request["deadline"].as_u64() {
                Some(seconds) => options.by(Duration::from_secs(seconds)),
                None => options,
            };
            let began = Instant::now();
            let connected = bowline::connect(host, &connection, &options, &Silent, Cancel::never()).await?;
            let left = options.deadline.saturating_sub(began.elapsed());
            let Connected { id, device_node, unfinished, .. } = connected;
            Ok((json!({ "device": device_node }), unfinished.then_some((id, left))))
        }
        Some("detach") => {
            let force = request["force"].as_bool().unwrap_or(false);
            let on_dirty = if force { OnDirty::Discard } else { OnDirty::Refuse };
            let options = DisconnectOptions { on_dirty, ..DisconnectOptions::default() };
            let which = Which::Connection(Box::new(connection));
            let detached = bowline::disconnect(host, &which, &options, &Silent, Cancel::never()).await?;
            Ok((json!({ "data_may_be_lost": detached.outcome == Outcome::DataMayBeLost }), None))
        }
        verb => Err(format!("{verb:?} is no verb: expected attach or detach").into()),
    }
}

/// An error with its causes.
fn sentence(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
