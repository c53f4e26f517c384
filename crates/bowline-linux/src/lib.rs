//! The real host.
//!
//! [`LinuxHost`] implements [`bowline_host::Host`] with the kernel's own interfaces: sysfs, device-mapper
//! ioctls, netlink uevents, multipathd's socket, and programs of open-iscsi. It knows nothing of attaching:
//! every rule lives above the seam.
//!
//! It needs a tokio runtime with I/O and time enabled; a current-thread one is enough:
//!
//! ```no_run
//! use bowline_linux::{LinuxHost, Settings};
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let host = LinuxHost::new(Settings::from_environment())?;
//! runtime.block_on(async { /* hand `host` to the engine */ });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A service that attaches and detaches side by side has a runtime of many threads, spawns each verb as a task, and hands it a
//! host of its own, [`LinuxHost::beside`] the first one.
//!
//! What can block in the kernel runs in the executable `bowline-helper`, see [`helper`].
//!
//! Unsafe code is denied here and allowed in seven small modules: the device-mapper ioctl, `recvmsg` with
//! credentials, a filter of a socket, `fork`, what a program does before its exec, the lock of multipath's wwids file, and the
//! hand-over of a socket to tokio.
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
mod async_socket;
mod clock;
mod database_lock;
mod dm;
#[allow(unsafe_code, reason = "device-mapper has no interface but its ioctl")]
mod dm_ioctl;
mod dm_parse;
mod files;
pub mod helper;
mod host;
#[allow(unsafe_code, reason = "whatever runs between fork and exec is promised to be harmless there")]
mod inherit;
mod locks;
mod multipathd;
mod private_dir;
mod programs;
mod replace;
mod settings;
mod state;
#[allow(unsafe_code, reason = "rustix cannot attach a filter to a socket")]
mod uevent_filter;
mod uevent_parse;
#[allow(unsafe_code, reason = "rustix cannot represent the credentials of process 0")]
mod uevent_recv;
mod uevents;
#[allow(
    unsafe_code,
    reason = "rustix has no lock that belongs to an open file and that multipath's conflict with"
)]
mod wwids;

pub use host::LinuxHost;
pub use settings::Settings;
