//! [`LinuxHost`]: the trait's methods, each handed to the module that knows how.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_host::host::{Blocking, DmDevice, DmId, Ended, LockGuard, Patch, Program, UeventStream};
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::{Host, HostError, Moment};

use crate::dm::DeviceMapper;
use crate::helper::HelperClient;
use crate::locks::Locks;
use crate::programs::Programs;
use crate::settings::Settings;
use crate::state::State;
use crate::uevents::Uevents;
use crate::{clock, database_lock, files, helper, locks, multipathd, wwids};

/// This machine, for one verb after another. Verbs side by side have one each ([`Self::beside`]): a program that outlives the
/// verb that has started it keeps all locks of its host.
///
/// Its async methods, and [`Host::uevents`], must be called within a tokio runtime that has I/O and time
/// enabled. Dropping the last one beside it ends their helper.
#[derive(Debug)]
pub struct LinuxHost {
    settings: Settings,
    state: State,
    programs: Programs,
    locks: Locks,
    device_mapper: DeviceMapper,
    helper: Arc<HelperClient>,
}

impl LinuxHost {
    /// Prepares a host; nothing is opened, made or started yet, so that a front end which only prints its
    /// usage leaves no trace. Fails when a path of the settings is not absolute.
    pub fn new(settings: Settings) -> Result<Self, HostError> {
        settings.check()?;
        let helper = HelperClient::new(settings.helper_path(), settings.run_dir.clone());
        Ok(Self::with_helper(settings, Arc::new(helper)))
    }

    /// The same machine for another verb at the same time: with locks of its own, and the same helper, so that not each verb
    /// starts one. All must be used within one runtime, which hears the helper's reports. What a verb writes down durably holds up the
    /// thread it runs in: a runtime of one thread makes all verbs wait for it.
    pub fn beside(&self) -> Self {
        Self::with_helper(self.settings.clone(), Arc::clone(&self.helper))
    }

    fn with_helper(settings: Settings, helper: Arc<HelperClient>) -> Self {
        Self {
            state: State::new(settings.state_dir.clone()),
            settings,
            programs: Programs::default(),
            locks: Locks::default(),
            device_mapper: DeviceMapper::default(),
            helper,
        }
    }
}

#[async_trait]
impl Host for LinuxHost {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        files::read(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        files::list(path)
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        files::read_link(path)
    }

    fn device_of(&self, path: &str) -> io::Result<Option<DevNumber>> {
        files::device_of(path)
    }

    fn dm(&self, id: &DmId) -> Result<Option<DmDevice>, HostError> {
        self.device_mapper.device(id)
    }

    async fn run(&self, program: &Program) -> Result<Ended, HostError> {
        self.programs.run(program, &self.locks).await
    }

    async fn ask_multipathd(&self, command: &str, limit: Duration) -> Result<String, HostError> {
        multipathd::ask(&self.settings.multipathd_sockets, command, limit).await
    }

    async fn blocking(&self, operation: &Blocking, limit: Duration) -> Result<Vec<u8>, HostError> {
        self.helper.perform(operation, limit).await
    }

    fn flush_told(&self, device: &BlockName, number: DevNumber) {
        helper::flush_told(&self.settings.run_dir, device, number);
    }

    /// The helper starts while the first look is taken.
    fn about_to_act(&self) {
        self.helper.start_early();
    }

    fn uevents(&self) -> Result<Box<dyn UeventStream>, HostError> {
        Ok(Box::new(Uevents::subscribe()?))
    }

    fn now(&self) -> Moment {
        clock::now()
    }

    fn wall_clock(&self) -> u64 {
        clock::wall_clock()
    }

    async fn sleep_until(&self, moment: Moment) {
        clock::sleep_until(moment).await;
    }

    async fn lock(&self, name: &str, limit: Duration) -> Result<Box<dyn LockGuard>, HostError> {
        Ok(Box::new(locks::lock(&self.locks, &self.settings.run_dir, name, limit).await?))
    }

    fn load_state(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.state.load(name)
    }

    fn store_state(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.state.store(name, bytes)
    }

    fn remove_state(&self, name: &str) -> Result<(), HostError> {
        self.state.remove(name)
    }

    fn list_state(&self, folder: &str) -> Result<Vec<String>, HostError> {
        self.state.list(folder)
    }

    fn replace_file(&self, path: &str, bytes: &[u8]) -> Result<(), HostError> {
        files::replace_file(path, bytes)
    }

    fn patch_wwids(&self, change: &(dyn Fn(&[u8]) -> Vec<Patch> + Sync)) -> io::Result<()> {
        wwids::patch(change)
    }

    fn create_lock(&self, path: &str, bytes: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        Ok(Box::new(database_lock::create(path, bytes)?))
    }

    fn break_lock(&self, path: &str, mark: &[u8]) -> io::Result<()> {
        database_lock::remove_dead(path, mark)
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        files::remove_file(path)
    }

    fn process_id(&self) -> u32 {
        std::process::id()
    }
}
