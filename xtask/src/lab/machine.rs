//! The virtual machine: its folder, QEMU's arguments, its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use lab_wire::{Context, Failure, paths};

use super::command;
use super::image::Image;

/// The folder of one run; removed with everything in it unless it is to be kept.
pub struct Place {
    folder: PathBuf,
    keep: bool,
}

impl Place {
    /// A folder of our own in `.lab`.
    pub fn make(repo: &Path, keep: bool) -> Result<Self, Failure> {
        let cache = repo.join(".lab");
        sweep(&cache);
        // Guests of one process may run side by side.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let kind = if keep { "kept" } else { "run" };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = cache.join(format!("{kind}-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder, keep })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the kernel and the guest's daemons wrote to the console.
    pub fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("lab: kept in {}: root.qcow2 (the guest's disk), console.log", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Removes the folders of runs that were killed before they could do it.
fn sweep(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("run-").and_then(|run| run.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// How the guest's instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accelerator {
    Kvm,
    Software,
}

impl Accelerator {
    /// `/dev/kvm` alone proves nothing: where the processor's flag is absent, a guest may hang in it for ever.
    fn of_this_machine() -> Self {
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let usable = || File::options().read(true).write(true).open("/dev/kvm").is_ok();
        if can_virtualize(&flags) && usable() { Self::Kvm } else { Self::Software }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Software => &["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// Whether the processor says that it can, in the words of `/proc/cpuinfo`.
fn can_virtualize(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
}

/// A running guest; killed when dropped.
pub struct Machine {
    qemu: Child,
    accelerator: Accelerator,
    errors: PathBuf,
    // QEMU closes the port when its standard input ends, and would drop what the guest sends.
    _keep_open: Option<ChildStdin>,
}

impl Machine {
    /// Starts QEMU on a fresh copy of the image.
    pub fn boot(image: &Image, payload: &Path, place: &Place) -> Result<Self, Failure> {
        let disk = place.folder().join("root.qcow2");
        let mut overlay = Command::new("qemu-img");
        overlay.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&image.disk).arg(&disk);
        command::run(&mut overlay).context(|| "cannot make the guest's disk")?;

        let accelerator = Accelerator::of_this_machine();
        let errors = place.folder().join("qemu.log");
        let log = File::create(&errors).context(|| format!("cannot make {}", errors.display()))?;
        // The guest ends when we do, however we end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args(accelerator.arguments()).args(arguments(image, &disk, payload, &place.console()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut qemu = command.spawn().context(|| "cannot start qemu-system-x86_64")?;
        let keep_open = qemu.stdin.take();
        Ok(Self { qemu, accelerator, errors, _keep_open: keep_open })
    }

    /// What executes the guest, in words.
    pub fn accelerator(&self) -> &'static str {
        match self.accelerator {
            Accelerator::Kvm => "KVM",
            Accelerator::Software => "software emulation (no vmx or svm flag, or /dev/kvm is not usable)",
        }
    }

    /// The stream of frames; once.
    pub fn stream(&mut self) -> Result<ChildStdout, Failure> {
        self.qemu.stdout.take().ok_or_else(|| Failure::new("the guest's stream is already taken"))
    }

    /// What QEMU itself complained of.
    pub fn complaints(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// QEMU's arguments, but for the accelerator.
fn arguments(image: &Image, disk: &Path, payload: &Path, console: &Path) -> Vec<String> {
    let kernel_line = "console=ttyS0 loglevel=4 panic=-1 mitigations=off tsc=reliable no_timer_check \
                       random.trust_cpu=on nokaslr audit=0 maxcpus=1";
    let drive = |id: &str, rest: &str| format!("if=none,id={id},cache=unsafe,{rest}");
    let words = [
        "-name bowline-lab -machine pc -smp 2 -m 1500 -nodefaults -display none -no-reboot",
        "-device virtio-blk-pci,drive=root -device virtio-blk-pci,drive=payload",
        "-chardev stdio,id=frames,signal=off -device virtio-serial-pci",
        "-serial chardev:console",
    ];
    let mut all: Vec<String> = words.iter().flat_map(|w| w.split(' ')).map(str::to_owned).collect();
    let mut option = |name: &str, value: String| all.extend([name.to_owned(), value]);
    option("-kernel", image.kernel.display().to_string());
    option("-initrd", image.initrd.display().to_string());
    option("-append", kernel_line.to_owned());
    option("-drive", drive("root", &format!("format=qcow2,file={}", disk.display())));
    option("-drive", drive("payload", &format!("format=raw,readonly=on,file={}", payload.display())));
    option("-device", format!("virtserialport,chardev=frames,name={}", paths::PORT_NAME));
    option("-chardev", format!("file,id=console,path={}", console.display()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flags_of_the_processor_count() {
        assert!(can_virtualize("processor : 0\nflags\t\t: fpu vmx sse\n"));
        assert!(!can_virtualize("model name : vmx\nflags\t\t: fpu sse hypervisor\n"));
        assert!(!can_virtualize(""));
    }
}
