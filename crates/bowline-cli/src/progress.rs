//! What happens now, on standard error (B10): live lines on a terminal, plain lines elsewhere, or the same
//! events as JSON for a program.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bowline::Event;
use bowline_host::Portal;
use bowline_host::iscsi::Endpoint;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::{Progress, ReportArgs};
use crate::output::{complain, printable};

/// How often live lines are drawn anew, so that their seconds run.
pub const FRAME: Duration = Duration::from_millis(200);

/// Shows events.
#[derive(Debug)]
pub enum Display {
    /// Not at all.
    None,
    /// A line each, unless it is no news.
    Plain(Said),
    /// A JSON object each.
    Json,
    /// A line for each path.
    Live(Live),
}

/// An event as one JSON object.
#[derive(Debug, Serialize)]
struct Line<'a> {
    schema: u32,
    /// Seconds since the verb began.
    at: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Display {
    /// The display that was asked for.
    pub fn new(args: ReportArgs) -> Self {
        // What is no terminal cannot be drawn over, also where that is asked for.
        let can_draw = || io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|t| t != "dumb");
        match args.progress {
            _ if args.quiet => Self::None,
            Progress::None => Self::None,
            Progress::Json => Self::Json,
            Progress::Auto | Progress::Live if can_draw() => Self::Live(Live::default()),
            Progress::Auto | Progress::Live | Progress::Plain => Self::Plain(Said::default()),
        }
    }

    /// Shows an event, `at` seconds after the verb began.
    pub fn show(&self, at: Duration, event: &Event) {
        match self {
            Self::None => {}
            Self::Plain(said) => {
                let (endpoint, text) = describe(event);
                if said.is_news(endpoint, &text) {
                    complain(&plain(at, endpoint, &text));
                }
            }
            Self::Json => {
                let at = (at.as_secs_f64() * 1000.0).round() / 1000.0;
                let line = Line { schema: bowline::report::SCHEMA, at, event };
                if let Ok(text) = serde_json::to_string(&line) {
                    complain(&format!("{text}\n"));
                }
            }
            Self::Live(live) => live.show(event),
        }
    }

    /// Whether it wants to be drawn every [`FRAME`].
    pub fn moves(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Lets the seconds run.
    pub fn draw(&self) {
        if let Self::Live(live) = self {
            live.draw();
        }
    }

    /// Takes live lines away: the result is what stays.
    pub fn finish(&self) {
        if let Self::Live(live) = self {
            live.lock().drain().for_each(|(_, line)| line.bar.finish_and_clear());
        }
    }
}

/// What was said last of each path, and of the volume.
#[derive(Debug, Default)]
pub struct Said(Mutex<HashMap<Option<Endpoint>, String>>);

impl Said {
    /// Whether it differs from what was said last: a step that is tried again is no news (C10), what it ends
    /// with is.
    fn is_news(&self, endpoint: Option<&Endpoint>, text: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(endpoint.cloned(), text.to_owned()).as_deref() != Some(text)
    }
}

/// `[  0.8s] 10.0.1.2:3260 logged in`
fn plain(at: Duration, endpoint: Option<&Endpoint>, text: &str) -> String {
    let portal = endpoint.map_or(String::new(), |endpoint| format!("{} ", endpoint.portal));
    format!("[{:>5.1}s] {portal}{}\n", at.as_secs_f64(), printable(text))
}

/// An event in words: the path it is about, if it is about one, and what happens.
fn describe(event: &Event) -> (Option<&Endpoint>, String) {
    match event {
        Event::WaitingForLock { lock } => (None, format!("waiting for another bowline process ({lock})")),
        Event::PathPreparing { endpoint } => (Some(endpoint), "preparing".into()),
        Event::PathLoggingIn { endpoint } => (Some(endpoint), "logging in".into()),
        Event::PathLoggedIn { endpoint } => (Some(endpoint), "logged in".into()),
        Event::PathScanning { endpoint, lun } => (Some(endpoint), format!("scanning for LUN {lun}")),
        Event::DeviceAppeared { endpoint, device } => (Some(endpoint), format!("{device} is there")),
        Event::PathJoined { endpoint, device } => (Some(endpoint), format!("{device} is in the map")),
        Event::PathFailed { endpoint, reason } => (Some(endpoint), format!("failed: {reason}")),
        Event::MapRequested { wwid } => (None, format!("asking multipathd for the map of {wwid}")),
        Event::DeviceRead { device } => (None, format!("{device} can be read")),
        Event::MapReady { map, paths, .. } => (None, format!("map {map} is ready, working paths: {paths}")),
        Event::Flushing { device } => (None, format!("writing back what {device} holds")),
        Event::Flushed { device } => (None, format!("{device} is written back")),
        Event::MapRemoving { map } => (None, format!("removing map {map}")),
        Event::MapRemoved { wwid } => (None, format!("the map of {wwid} is gone")),
        Event::DeviceDeleting { device } => (None, format!("deleting {device}")),
        Event::DeviceGone { device } => (None, format!("{device} is gone")),
        Event::PathLoggingOut { endpoint } => (Some(endpoint), "logging out".into()),
        Event::PathGone { endpoint } => (Some(endpoint), "session and node record are gone".into()),
        Event::PathReleased { endpoint } => (Some(endpoint), "released; others use it".into()),
        Event::Note { text } => (None, text.clone()),
        Event::CleaningUp { reason } => (None, format!("cleaning up: {reason}")),
    }
}

/// One line on the screen for each path, and one for the volume. No thread draws them: whoever waits for the
/// verb does, so that a line costs next to nothing.
#[derive(Debug, Default)]
pub struct Live {
    screen: MultiProgress,
    lines: Mutex<HashMap<Option<Endpoint>, Activity>>,
}

/// What one line is about.
#[derive(Debug)]
struct Activity {
    bar: ProgressBar,
    /// The portal, or nothing for the volume.
    portal: Option<Portal>,
    text: String,
    since: Instant,
    /// Nothing more is under way here: its seconds stand still.
    settled: bool,
}

impl Live {
    fn show(&self, event: &Event) {
        let (endpoint, text) = describe(event);
        if let Event::Note { .. } = event {
            // A note must not be overwritten by what happens next.
            let _ = self.screen.println(printable(&text));
            return;
        }
        let settled = matches!(
            event,
            Event::PathJoined { .. }
                | Event::PathFailed { .. }
                | Event::PathGone { .. }
                | Event::PathReleased { .. }
                | Event::MapReady { .. }
                | Event::MapRemoved { .. }
                | Event::Flushed { .. }
        );
        let mut lines = self.lock();
        let line = lines.entry(endpoint.cloned()).or_insert_with(|| Activity {
            bar: self.line(),
            portal: endpoint.map(|endpoint| endpoint.portal),
            text: String::new(),
            since: Instant::now(),
            settled,
        });
        let text = printable(&text);
        if line.text != text {
            // A step that is tried again goes on counting.
            (line.text, line.since, line.settled) = (text.into_owned(), Instant::now(), settled);
        }
        line.draw();
    }

    fn line(&self) -> ProgressBar {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        self.screen.add(bar)
    }

    fn draw(&self) {
        self.lock().values().filter(|line| !line.settled).for_each(Activity::draw);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<Endpoint>, Activity>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Activity {
    fn draw(&self) {
        let who = self.portal.map_or("volume".to_string(), |portal| portal.to_string());
        let seconds = match self.settled {
            true => String::new(),
            false => format!(" {:.0}s", self.since.elapsed().as_secs_f64()),
        };
        let message = format!("{who:<22} {}{seconds}", self.text);
        // Each change draws the whole screen: none where nothing changed.
        if self.bar.message() != message {
            self.bar.set_message(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            iqn: "iqn.a:1".parse().unwrap(),
            portal: "10.0.1.2:3260".parse().unwrap(),
            iface: Default::default(),
        }
    }

    /// B10: for a person.
    #[test]
    fn b10_plain_lines() {
        let line = |at, event: &Event| {
            let (endpoint, text) = describe(event);
            plain(at, endpoint, &text)
        };
        let at = Duration::from_millis(840);
        let event = Event::PathLoggedIn { endpoint: endpoint() };
        assert_eq!(line(at, &event), "[  0.8s] 10.0.1.2:3260 logged in\n");
        let event = Event::PathFailed { endpoint: endpoint(), reason: "no\u{1b}[2Jroute\n".into() };
        let at = Duration::from_secs(119);
        assert_eq!(line(at, &event), "[119.0s] 10.0.1.2:3260 failed: no\\u{1b}[2Jroute\\n\n");
        let event = Event::CleaningUp { reason: "interrupted".into() };
        assert_eq!(line(Duration::ZERO, &event), "[  0.0s] cleaning up: interrupted\n");
    }

    /// C10: what is tried again makes no noise, for each path by itself.
    #[test]
    fn c10_the_same_line_once() {
        let said = Said::default();
        let path = endpoint();
        let news =
            ["preparing", "preparing", "logging in", "preparing"].map(|t| said.is_news(Some(&path), t));
        assert_eq!(news, [true, false, true, true]);
        assert!(said.is_news(None, "preparing"));
    }

    /// B10: the same event as data for a program.
    #[test]
    fn b10_json_lines() {
        let event = Event::PathLoggedIn { endpoint: endpoint() };
        let text = serde_json::to_string(&Line { schema: 1, at: 0.84, event: &event }).unwrap();
        assert_eq!(
            text,
            "{\"schema\":1,\"at\":0.84,\"event\":\"path_logged_in\",\
             \"endpoint\":{\"iqn\":\"iqn.a:1\",\"portal\":\"10.0.1.2:3260\",\"iface\":\"default\"}}"
        );
    }

    /// B10: one line for each path and one for the volume.
    #[test]
    fn b10_live_lines() {
        let live = Live {
            screen: MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden()),
            ..Default::default()
        };
        live.show(&Event::PathLoggingIn { endpoint: endpoint() });
        live.show(&Event::PathJoined { endpoint: endpoint(), device: "sda".parse().unwrap() });
        live.show(&Event::CleaningUp { reason: "interrupted".into() });
        live.draw();
        let lines = live.lines.lock().unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[&Some(endpoint())].bar.message(), "10.0.1.2:3260          sda is in the map");
        assert_eq!(lines[&None].bar.message(), "volume                 cleaning up: interrupted 0s");
    }
}
